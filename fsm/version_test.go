package fsm_test

import (
	"errors"
	"testing"

	"warren/fsm"
	"warren/fsm/command"
)

// TestNewerVersion checks that a machine stops at a version that it does not know.
func TestNewerVersion(t *testing.T) {
	var out fsm.Output
	batch := command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version + 1})
	if err := fsm.New(nil).Apply(fsm.Meta{Index: 1}, batch, &out); !errors.Is(err, fsm.ErrVersion) {
		t.Error(err)
	}
}
