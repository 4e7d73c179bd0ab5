// Command release makes the archives of a release: for each platform one of warren, warrenctl and warrenperf, with license, README, documents,
// completions of the shells and, for Linux, the systemd unit and sample settings; and a file of their checksums.
// The same source and toolchain give the same bytes, on any machine and in any directory.
//
//	make release VERSION=1.2.3
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

const defaultPlatforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64"

var programs = []string{"warren", "warrenctl", "warrenperf"}

func main() {
	version := flag.String("version", "", "`VERSION` that is stamped and named, like 1.2.3")
	out := flag.String("out", "dist", "`DIR` for the archives")
	platforms := flag.String("platforms", defaultPlatforms, "`OS/ARCH,...`")
	flag.Parse()
	if err := release(".", *out, *version, strings.Split(*platforms, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// goodVersion keeps names of files and stamps to what all tools take.
var goodVersion = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

func release(root, out, version string, platforms []string) error {
	if !goodVersion.MatchString(version) {
		return fmt.Errorf("version %q: say VERSION=1.2.3, or 1.2.3-rc.1", version)
	}
	version = strings.TrimPrefix(version, "v")
	scratch, err := os.MkdirTemp("", "warren-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	common, err := documents(root)
	if err != nil {
		return err
	}
	slices.Sort(platforms)
	builds := map[string][]file{}
	for _, p := range append([]string{runtime.GOOS + "/" + runtime.GOARCH}, platforms...) {
		if builds[p] != nil {
			continue
		}
		goos, goarch, ok := strings.Cut(p, "/")
		if !ok {
			return fmt.Errorf("platform %q is not like linux/amd64", p)
		}
		if builds[p], err = build(root, filepath.Join(scratch, goos+"-"+goarch), goos, goarch, version); err != nil {
			return err
		}
	}
	completions, err := completions(filepath.Join(scratch, runtime.GOOS+"-"+runtime.GOARCH))
	if err != nil {
		return err
	}
	common = append(common, completions...)
	var sums bytes.Buffer
	for _, p := range platforms {
		goos, goarch, _ := strings.Cut(p, "/")
		files := append(slices.Clone(common), builds[p]...)
		if goos == "linux" {
			service, err := linuxFiles(root)
			if err != nil {
				return err
			}
			files = append(files, service...)
		}
		name := fmt.Sprintf("warren-%s-%s-%s", version, goos, goarch)
		archive, err := pack(name, files)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name+".tar.gz"), archive, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s.tar.gz\n", sha256.Sum256(archive), name)
		fmt.Printf("%s (%d MiB)\n", filepath.Join(out, name+".tar.gz"), len(archive)>>20)
	}
	return os.WriteFile(filepath.Join(out, fmt.Sprintf("warren-%s-SHA256SUMS", version)), sums.Bytes(), 0o644)
}

// A file stands in an archive.
type file struct {
	name       string // with '/'
	content    []byte
	executable bool
}

// documents are license, README, changelog and docs/.
func documents(root string) ([]file, error) {
	names := []string{"LICENSE", "README.md", "CHANGELOG.md"}
	pages, err := fs.Glob(os.DirFS(root), "docs/*.md")
	if err != nil {
		return nil, err
	}
	return readAll(root, append(names, pages...), "")
}

// linuxFiles are for a machine with systemd.
func linuxFiles(root string) ([]file, error) {
	return readAll(root, []string{"deploy/warren.service", "deploy/warren.conf"}, "deploy/")
}

func readAll(root string, names []string, strip string) ([]file, error) {
	var all []file
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		all = append(all, file{name: strings.TrimPrefix(name, strip), content: content})
	}
	return all, nil
}

// build compiles the programs for a platform.
func build(root, dir, goos, goarch, version string) ([]file, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	args := []string{"build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w -X main.version=" + version, "-o", dir + string(filepath.Separator)}
	for _, p := range programs {
		args = append(args, "./cmd/"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("build for %s/%s: %w", goos, goarch, err)
	}
	var all []file
	for _, p := range programs {
		content, err := os.ReadFile(filepath.Join(dir, p))
		if err != nil {
			return nil, err
		}
		if err := checkPlatform(content, goos, goarch); err != nil {
			return nil, fmt.Errorf("%s for %s/%s: %w", p, goos, goarch, err)
		}
		all = append(all, file{"bin/" + p, content, true})
	}
	return all, nil
}

// completions has the programs of this machine, which are in dir, write what shells complete with.
func completions(dir string) ([]file, error) {
	var all []file
	for _, p := range programs[:2] {
		for _, s := range []struct{ shell, name string }{
			{"bash", "completions/bash/" + p}, {"zsh", "completions/zsh/_" + p}, {"fish", "completions/fish/" + p + ".fish"},
		} {
			text, err := exec.Command(filepath.Join(dir, p), "completion", s.shell).Output()
			if err != nil {
				return nil, fmt.Errorf("%s completion %s: %w", p, s.shell, err)
			}
			all = append(all, file{name: s.name, content: text})
		}
	}
	return all, nil
}

// epoch stands for the time of every file: that of a build says nothing about its content.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// pack makes an archive in which all stands below one directory. The order of the files does not matter.
func pack(top string, files []file) ([]byte, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	made := map[string]bool{}
	for _, f := range files {
		name := path.Join(top, f.name)
		for _, dir := range parents(name) {
			if made[dir] {
				continue
			}
			made[dir] = true
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: epoch, Format: tar.FormatUSTAR}); err != nil {
				return nil, err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(f.content)), Mode: 0o644, ModTime: epoch, Format: tar.FormatUSTAR}
		if f.executable {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// parents are the directories around a name, the outermost first.
func parents(name string) []string {
	var all []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		all = append(all, dir)
	}
	slices.Reverse(all)
	return all
}
