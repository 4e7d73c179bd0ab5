//go:build linux

package chaos

import (
	"fmt"
	"os/exec"
	"strings"

	"warren/integration/damage"
	"warren/integration/proc"
)

// damageFaults are those of files of a node that was killed.
func damageFaults() []Fault {
	return []Fault{fault{"damaged file", true, damaged}}
}

// damaged has a node find one of its files damaged. It does not start, warren verify names the file, and after
// warren reset it joins as a new one.
func damaged(s *Strike) error {
	n, err := s.Take()
	if err != nil {
		return err
	}
	defer s.losesData()()
	id, err := n.identity()
	if err != nil {
		return err
	}
	s.Logf("kill %s", n.Name)
	if err := n.Kill(); err != nil {
		return err
	}
	var there []damage.Kind
	for _, k := range damage.Kinds {
		if k.There(n.files()) {
			there = append(there, k)
		}
	}
	kind := there[s.Random.IntN(len(there))] // the id is always there
	path, err := kind.Do(n.files(), s.Random)
	if err != nil {
		return fmt.Errorf("damage a file of %s: %w", n.Name, err)
	}
	file := strings.TrimPrefix(path, n.files())
	s.Logf("damaged: %s, %s", kind.Name, file)
	out, err := s.warren("verify", n)
	if err == nil || !strings.Contains(out, "damaged  ") || !strings.Contains(out, file) || !strings.Contains(out, "warren reset") {
		return fmt.Errorf("%s: verify does not tell of %s: %w\n%s", kind.Name, file, err, out)
	}
	if !kind.Late {
		if err := n.doesNotStart(file); err != nil {
			return fmt.Errorf("%s: %w", kind.Name, err)
		}
	}
	s.Logf("reset %s (%s)", n.Name, id)
	if out, err := s.warren("reset", n, "--delete"); err != nil {
		return fmt.Errorf("reset: %w\n%s", err, out)
	}
	return s.joinsAnew(n, id)
}

// doesNotStart starts a node and wants it to end, and to tell of a file and of the way out.
func (n *Node) doesNotStart(file string) error {
	before := n.logged("warren reset")
	if err := n.Start(); err != nil {
		return err
	}
	n.beFrail() // not before: Start would clear it
	err := proc.WaitFor(proc.Patience, func() error {
		if n.proc.Running() {
			return fmt.Errorf("%s runs, though %s is damaged", n.Name, file)
		}
		return nil
	})
	n.mu.Lock()
	n.down, n.frail = true, false
	n.mu.Unlock()
	if err != nil {
		return err
	}
	log := n.proc.LogTail()
	if n.proc.Err() == nil || n.logged("warren reset") == before {
		return fmt.Errorf("%s ended with %v, and does not tell what to do; the end of its log:\n%s", n.Name, n.proc.Err(), log)
	}
	return nil
}

// warren runs an operator's command of the server on the data directory of a node that does not run.
func (s *Strike) warren(verb string, n *Node, args ...string) (string, error) {
	out, err := exec.Command(n.bin.path, append([]string{verb, "--data-dir", n.dataDir()}, args...)...).CombinedOutput()
	return string(out), err
}
