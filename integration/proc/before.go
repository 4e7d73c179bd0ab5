package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// versionFile has the line that says which version of the state machine this code has.
const versionFile = "fsm/upgrade.go"

// upgradedFrom is the version of the state machine from which tests upgrade: the one before global parameters.
const upgradedFrom = 2

var machineVersion = regexp.MustCompile(`(?m)^const Version = \d+$`)

// BuildBefore builds cmd/warren of the last commit whose state machine was of version 2, into
// bin. It uses the directory work, which must not be there, and says what it has built. In a checkout whose history
// does not reach so far back it builds this code with a lower version. What is given besides is for go build.
func BuildBefore(bin, work string, args ...string) (what string, err error) {
	text, err := os.ReadFile(filepath.Join(ModuleRoot(), versionFile))
	if err != nil {
		return "", err
	}
	if !machineVersion.Match(text) {
		return "", fmt.Errorf("%s has no line like %v", versionFile, machineVersion)
	}
	commit, unknown := commitBefore(versionFile, fmt.Sprintf("const Version = %d", upgradedFrom+1))
	what = commit
	if unknown != nil {
		commit, what = "HEAD", fmt.Sprintf("this code with a lower version (%v)", unknown)
	}
	if _, err := git("worktree", "add", "--detach", work, commit); err != nil {
		return "", err
	}
	defer func() {
		_, e := git("worktree", "remove", "--force", work)
		err = errors.Join(err, e)
	}()
	if unknown != nil {
		text = machineVersion.ReplaceAll(text, fmt.Appendf(nil, "const Version = %d", upgradedFrom))
		if err := os.WriteFile(filepath.Join(work, versionFile), text, 0o600); err != nil {
			return "", err
		}
	}
	return what, buildIn(work, bin, append(args, "./cmd/warren")...)
}

// commitBefore returns the parent of the commit that brought a line into a file.
func commitBefore(file, line string) (string, error) {
	all, err := git("log", "--format=%H", "-S"+line, "--", file)
	if err != nil {
		return "", err
	}
	commits := strings.Fields(all)
	if len(commits) == 0 {
		return "", fmt.Errorf("git knows no commit that brought %q into %s", line, file)
	}
	return git("rev-parse", "--verify", commits[len(commits)-1]+"^")
}

// git runs git in the checkout of this code.
func git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = ModuleRoot()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
