package main

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"fmt"
)

// checkPlatform reads the header of a program: it has to be one for the platform, and on Linux one that needs no library.
func checkPlatform(content []byte, goos, goarch string) error {
	is := ""
	switch goos {
	case "linux":
		f, err := elf.NewFile(bytes.NewReader(content))
		if err != nil {
			return fmt.Errorf("it is no program for %s: %w", goos, err)
		}
		is = map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[f.Machine]
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				return fmt.Errorf("it needs a dynamic linker: it is to be static")
			}
		}
	case "darwin":
		f, err := macho.NewFile(bytes.NewReader(content))
		if err != nil {
			return fmt.Errorf("it is no program for %s: %w", goos, err)
		}
		is = map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[f.Cpu]
	default:
		return nil // nobody has said what such a file looks like
	}
	if is != goarch {
		return fmt.Errorf("it is a program for %s/%s, not for %s", goos, is, goarch)
	}
	return nil
}
