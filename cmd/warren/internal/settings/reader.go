package settings

import "github.com/spf13/pflag"

// The values of Setting.Reload: when a changed value counts after the settings were read again.
const (
	AtOnce         = "at once"
	NewConnections = "for new connections"
)

// A Reader reads the settings, and reads them again: flags and variables stay what they are while a process
// runs, the file may have changed.
type Reader struct {
	flags *pflag.FlagSet
	env   Lookup

	inForce map[*Setting]string // nil before the first Read
}

// NewReader returns a reader; see Load.
func NewReader(flags *pflag.FlagSet, env Lookup) *Reader { return &Reader{flags: flags, env: env} }

// A Change is which settings differ from those in force, by their keys.
type Change struct {
	Applied     []string // count from now on, or for new connections
	NeedRestart []string // stay as they are until the process is restarted
}

// Read reads all settings. What may change while a process runs is in force then. After an error everything stays as it was.
func (r *Reader) Read() (Values, Change, error) {
	v, err := Load(r.flags, r.env)
	if err != nil {
		return Values{}, Change{}, err
	}
	texts, err := r.texts()
	if err != nil {
		return Values{}, Change{}, err
	}
	var c Change
	if r.inForce == nil {
		r.inForce = texts
		return v, c, nil
	}
	for _, s := range table {
		switch {
		case texts[s] == r.inForce[s]:
		case s.Reload == "":
			c.NeedRestart = append(c.NeedRestart, s.Key())
		default:
			r.inForce[s] = texts[s]
			c.Applied = append(c.Applied, s.Key())
		}
	}
	return v, c, nil
}

func (r *Reader) texts() (map[*Setting]string, error) {
	file, err := loadFile(r.flags, r.env)
	if err != nil {
		return nil, err
	}
	all := make(map[*Setting]string, len(table))
	for _, s := range table {
		all[s], _ = s.choose(r.flags, r.env, file)
	}
	return all, nil
}

// hidden stands for a secret that is set.
const hidden = "********"

// Shown returns what all settings are set to, as text and by their keys, for people to look at: in place of
// secrets stands that they are set. It is what was in force after the last Read.
func (r *Reader) Shown() map[string]string {
	all := make(map[string]string, len(table))
	for _, s := range table {
		text := r.inForce[s]
		if s.Secret && text != "" {
			text = hidden
		}
		all[s.Key()] = text
	}
	return all
}
