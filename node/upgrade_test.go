package node

import (
	"strconv"
	"testing"

	"warren/cluster"
	"warren/fsm"
	"warren/fsm/command"
)

// A new cluster has the newest version of the state machine before it serves anybody.
func TestNewClusterIsUpgraded(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	defer stop(t, n)
	if v := n.machineVersion(); v != fsm.Version {
		t.Errorf("serves with version %d of the state machine", v)
	}
}

// What an older node would stop at is refused while the log has not agreed on its version.
func TestNewCommandsWaitForTheUpgrade(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	defer stop(t, n)
	known := n.version.Load()
	if err := n.tooNew(command.KindMove); err != nil || known != fsm.Version {
		t.Errorf("version %d: %v", known, err)
	}
	n.version.Store(2)
	defer n.version.Store(known)
	if err := n.tooNew(command.KindVHostPut); err != nil {
		t.Errorf("a vhost: %v", err)
	}
	res, err := broker{n}.Propose(t.Context(), &command.ParameterClear{VHost: "/", Component: "c", Name: "n"})
	if err != nil || res.Err == nil || res.Err.Code != resourceError {
		t.Errorf("%v, %+v", err, res.Err)
	}
}

// The version is what every member knows; who is no member does not count.
func TestCommonVersion(t *testing.T) {
	member := func(version string) cluster.Member {
		return cluster.Member{Member: true, Tags: map[string]string{versionTag: version}}
	}
	newest := strconv.Itoa(fsm.Version)
	for want, members := range map[uint64][]cluster.Member{
		fsm.Version: {member(newest), member("99"), {Tags: map[string]string{versionTag: "1"}}},
		1:           {member(newest), {Member: true}},
	} {
		if got := commonVersion(members); got != want {
			t.Errorf("%+v have version %d in common, want %d", members, got, want)
		}
	}
}
