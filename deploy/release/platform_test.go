package main

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"strings"
	"testing"
)

// TestCheckPlatform gives headers of programs for all platforms of a release to all of them: each fits its own only.
func TestCheckPlatform(t *testing.T) {
	programs := map[string][]byte{
		"linux/amd64":  elfFile(t, elf.EM_X86_64, elf.PT_LOAD),
		"linux/arm64":  elfFile(t, elf.EM_AARCH64, elf.PT_LOAD),
		"darwin/amd64": machoFile(t, macho.CpuAmd64),
		"darwin/arm64": machoFile(t, macho.CpuArm64),
	}
	for of, content := range programs {
		for p := range strings.SplitSeq(defaultPlatforms, ",") {
			goos, goarch, _ := strings.Cut(p, "/")
			if err := checkPlatform(content, goos, goarch); (err == nil) != (p == of) {
				t.Errorf("a program for %s as one for %s: %v", of, p, err)
			}
		}
	}
	if err := checkPlatform(elfFile(t, elf.EM_X86_64, elf.PT_INTERP), "linux", "amd64"); err == nil {
		t.Error("a program that is not static was taken")
	}
	if err := checkPlatform([]byte("#!/bin/sh\n"), "linux", "amd64"); err == nil {
		t.Error("a script was taken")
	}
}

// elfFile is a program of one segment with nothing in it.
func elfFile(t *testing.T, machine elf.Machine, kind elf.ProgType) []byte {
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	return written(t, h, elf.Prog64{Type: uint32(kind)})
}

// machoFile is a program without anything to load.
func machoFile(t *testing.T, cpu macho.Cpu) []byte {
	return written(t, macho.FileHeader{Magic: macho.Magic64, Cpu: cpu, Type: macho.TypeExec}, uint32(0))
}

func written(t *testing.T, parts ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range parts {
		if err := binary.Write(&b, binary.LittleEndian, p); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}
