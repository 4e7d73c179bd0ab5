//go:build linux

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
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
	if err := s.trim(n); err != nil {
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

// sound is what verify says of a file of messages: its name, and how much of it a snapshot names.
var sound = regexp.MustCompile(`(?m)^ok +.*/([^/]+\.seg) \((\d+) bytes\)$`)

// trim takes off the files of messages what the newest snapshot does not name. A node does the same as it starts, and fills them from the
// log: nothing reads it, and so nobody could tell that it is damaged.
func (s *Strike) trim(n *Node) error {
	out, err := s.warren("verify", n)
	if err != nil {
		return fmt.Errorf("verify before any damage: %w\n%s", err, out)
	}
	named := map[string]int64{}
	for _, m := range sound.FindAllStringSubmatch(out, -1) {
		if named[m[1]], err = strconv.ParseInt(m[2], 10, 64); err != nil {
			return err
		}
	}
	all, err := filepath.Glob(filepath.Join(n.files(), "messages", "*.seg"))
	if err != nil {
		return err
	}
	for _, path := range all {
		if size := named[filepath.Base(path)]; size > 0 {
			err = os.Truncate(path, size)
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
