package settings

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/spf13/pflag"
)

// A flagValue keeps what a flag was given, checked when it is given so that
// the error names the flag.
type flagValue struct {
	s    *Setting
	text string
}

func (f *flagValue) Set(text string) error {
	if err := f.s.set(new(Values), text); err != nil {
		return err
	}
	f.text = text
	return nil
}

func (f *flagValue) String() string { return f.text }

// Type stands for the value in the help text.
func (f *flagValue) Type() string { return f.s.Arg }

// AddFlags adds a flag for every setting, and --config.
func AddFlags(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.String(ConfigFlag, "", "`FILE` of settings, key = value on each line ["+ConfigEnv+"]")
	for _, s := range table {
		flags.Var(&flagValue{s: s, text: s.Default}, s.Flag, s.usage())
	}
}

// usage is the text of the setting in --help. pflag adds the default.
func (s *Setting) usage() string {
	return fmt.Sprintf("%s [%s]", s.Meaning, s.Env())
}

// Lookup tells the value of an environment variable, as os.LookupEnv does.
type Lookup func(name string) (value string, set bool)

// Load returns the values of all settings: a flag wins over a variable, a variable
// over the file, the file over the default. Flags must hold what AddFlags added,
// parsed. The error says where a bad value came from.
func Load(flags *pflag.FlagSet, env Lookup) (Values, error) {
	file, err := loadFile(flags, env)
	if err != nil {
		return Values{}, err
	}
	var v Values
	for _, s := range table {
		text, origin := s.choose(flags, env, file)
		if err := s.set(&v, text); err != nil {
			return Values{}, fmt.Errorf("%s: %s%w", origin, s.shown(text), err)
		}
	}
	return v, v.check()
}

// shown is a value as errors quote it.
func (s *Setting) shown(text string) string {
	if s.Secret {
		return ""
	}
	return fmt.Sprintf("%q: ", text)
}

type settingsFile struct {
	name    string
	entries map[*Setting]entry
}

func loadFile(flags *pflag.FlagSet, env Lookup) (settingsFile, error) {
	name, _ := env(ConfigEnv)
	if f := flags.Lookup(ConfigFlag); f != nil && f.Changed {
		name = f.Value.String()
	}
	if name == "" {
		return settingsFile{}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return settingsFile{}, fmt.Errorf("file of settings: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	entries, err := parseFile(name, f)
	return settingsFile{name, entries}, err
}

// choose returns the text of a setting by precedence, and where it came from.
func (s *Setting) choose(flags *pflag.FlagSet, env Lookup, file settingsFile) (text, origin string) {
	if f := flags.Lookup(s.Flag); f != nil && f.Changed {
		return f.Value.String(), "--" + s.Flag
	}
	if text, ok := env(s.Env()); ok {
		return text, s.Env()
	}
	if s.Fallback != "" {
		if text, ok := env(s.Fallback); ok {
			return text, s.Fallback
		}
	}
	if e, ok := file.entries[s]; ok {
		return e.value, fmt.Sprintf("%s:%d: %s", file.name, e.line, s.Key())
	}
	return s.Default, s.Flag
}

// check checks what concerns more than one setting.
func (v *Values) check() error {
	if v.Expect > 1 && len(v.Join) == 0 {
		return fmt.Errorf("expect is %d but join is empty: name at least one of the other nodes", v.Expect)
	}
	if v.ElectionTimeout < v.HeartbeatTimeout {
		return fmt.Errorf("election-timeout (%v) must not be less than heartbeat-timeout (%v)", v.ElectionTimeout, v.HeartbeatTimeout)
	}
	return v.checkTLS()
}

func (v *Values) checkTLS() error {
	if (v.AMQPSAddr != "" || v.HTTPSAddr != "") && (v.TLSCert == "" || v.TLSKey == "") {
		return errors.New("amqps-addr and https-addr need tls-cert and tls-key")
	}
	if v.ClusterTLS && (v.TLSCert == "" || v.TLSKey == "" || v.TLSCA == "") {
		return errors.New("cluster-tls needs tls-cert, tls-key and tls-ca")
	}
	if v.ClusterTLS && v.TLSVerify == VerifyPeer && len(v.ClusterSecret) == 0 && v.ClusterSecretFile == "" {
		return errors.New("cluster-tls with tls-verify = verify_peer needs cluster-secret or cluster-secret-file: " +
			"clients have certificates of tls-ca too, and a certificate alone would make them nodes")
	}
	if v.TLSVerify == VerifyPeer && v.TLSCA == "" {
		return errors.New("tls-verify is verify_peer: tls-ca must name the authorities whose clients are believed")
	}
	if v.TLSFailIfNoPeerCert && v.TLSVerify != VerifyPeer {
		return errors.New("tls-fail-if-no-peer-cert needs tls-verify = verify_peer")
	}
	return nil
}

// UnknownVariables returns the WARREN_* names in environ (NAME=value, as
// os.Environ gives) that are no setting, sorted. They may be misspelt, or belong
// to something else: Kubernetes sets WARREN_SERVICE_HOST for a service named
// warren. So they deserve a warning, not an error.
func UnknownVariables(environ []string) []string {
	known := map[string]bool{ConfigEnv: true}
	for _, s := range table {
		known[s.Env()] = true
	}
	var unknown []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, envPrefix) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	sort.Strings(unknown)
	return unknown
}
