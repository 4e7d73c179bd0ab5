package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"slices"
	"testing"
)

// The same files give the same bytes, in whichever order they come, and come out as they went in.
func TestPack(t *testing.T) {
	files := []file{{"bin/warren", []byte("program"), true}, {"README.md", []byte("text"), false}, {"completions/bash/warren", nil, false}}
	one, err := pack("warren-1", files)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(files)
	two, err := pack("warren-1", files)
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("other bytes in another order (%v)", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(one))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name+" "+string(content))
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || (h.Name == "warren-1/bin/warren") != (h.Mode == 0o755 && h.Typeflag == tar.TypeReg) {
			t.Errorf("%+v", h)
		}
	}
	want := []string{"warren-1/ ", "warren-1/README.md text", "warren-1/bin/ ", "warren-1/bin/warren program",
		"warren-1/completions/ ", "warren-1/completions/bash/ ", "warren-1/completions/bash/warren "}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

func TestVersions(t *testing.T) {
	for version, good := range map[string]bool{"1.2.3": true, "v1.2.3": true, "1.2.3-rc.1": true, "": false, "1.2": false, "1.2.3 ": false, "1.2.3-x/../y": false} {
		if goodVersion.MatchString(version) != good {
			t.Errorf("%q", version)
		}
	}
}
