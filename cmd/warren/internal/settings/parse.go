package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// A setter parses the text of one setting and stores it in its field.
type setter = func(v *Values, text string) error

type durationField = time.Duration

func millis(n int) time.Duration  { return time.Duration(n) * time.Millisecond }
func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
func hours(n int) time.Duration   { return time.Duration(n) * time.Hour }

// field makes a setter of a parser.
func field[T any](at func(*Values) *T, parse func(string) (T, error)) setter {
	return func(v *Values, text string) error {
		x, err := parse(text)
		if err != nil {
			return err
		}
		*at(v) = x
		return nil
	}
}

func optional(at func(*Values) *string) setter {
	return field(at, func(s string) (string, error) { return s, nil })
}

func text(at func(*Values) *string) setter {
	return field(at, func(s string) (string, error) {
		if s == "" {
			return "", errors.New("must not be empty")
		}
		return s, nil
	})
}

func oneOf(at func(*Values) *string, names ...string) setter {
	return field(at, func(s string) (string, error) {
		for _, n := range names {
			if s == n {
				return s, nil
			}
		}
		return "", fmt.Errorf("must be %s", strings.Join(names, " or "))
	})
}

func number(at func(*Values) *int, least, most int) setter {
	return field(at, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, errors.New("must be a whole number")
		}
		if n < least || n > most {
			return 0, fmt.Errorf("must be from %d to %d", least, most)
		}
		return n, nil
	})
}

func duration(at func(*Values) *durationField, least, most time.Duration) setter {
	return field(at, func(s string) (time.Duration, error) { return parseDuration(s, least, most) })
}

// wholeSeconds is for AMQP's heartbeat, which travels as a number of seconds.
func wholeSeconds(at func(*Values) *durationField, least, most time.Duration) setter {
	return field(at, func(s string) (time.Duration, error) {
		d, err := parseDuration(s, least, most)
		if err == nil && d%time.Second != 0 {
			return 0, errors.New("must be whole seconds")
		}
		return d, err
	})
}

func parseDuration(s string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("must be a duration with its unit, like 500ms, 10s or 2m")
	}
	if d < least || d > most {
		return 0, fmt.Errorf("must be from %v to %v", least, most)
	}
	return d, nil
}

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
}

func size(at func(*Values) *int64, least, most int64) setter {
	return field(at, func(s string) (int64, error) { return parseSize(s, least, most) })
}

func sizeInt(at func(*Values) *int, least, most int64) setter {
	return field(at, func(s string) (int, error) {
		n, err := parseSize(s, least, most)
		return int(n), err
	})
}

func parseSize(s string, least, most int64) (int64, error) {
	digits, unit := s, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, errors.New("must be a number of bytes, or one with kB, KiB, MB, MiB, GB or GiB")
	}
	if n < 0 || n > most/unit || n*unit < least {
		return 0, fmt.Errorf("must be from %d to %d bytes", least, most)
	}
	return n * unit, nil
}

// watermark takes a part of the memory, "0.6", or an amount, "2GB". A number
// without a unit that is at most 1 or has a point is a part.
func watermark(at func(*Values) *Watermark) setter {
	return field(at, parseWatermark)
}

// leastWatermark is the smallest amount that makes sense, in bytes: less than
// what an idle process takes blocks publishers for good, which serves tests.
const leastWatermark = 1 << 20

func parseWatermark(s string) (Watermark, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && (f <= 1 || strings.Contains(s, ".")) {
		if !(f > 0 && f <= 1) {
			return Watermark{}, errors.New("as a part of the memory it must be above 0 and at most 1")
		}
		return Watermark{Fraction: f}, nil
	}
	n, err := parseSize(s, leastWatermark, 1<<50)
	return Watermark{Bytes: n}, err
}

func address(at func(*Values) *string) setter {
	return field(at, func(s string) (string, error) { return s, checkAddress(s, false) })
}

func optionalAddress(at func(*Values) *string) setter {
	return field(at, func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return s, checkAddress(s, true)
	})
}

// optionalListener is for an address to listen on, or none.
func optionalListener(at func(*Values) *string) setter {
	return field(at, func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return s, checkAddress(s, false)
	})
}

func boolean(at func(*Values) *bool) setter {
	return field(at, func(s string) (bool, error) {
		switch s {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return false, errors.New("must be true or false")
	})
}

// checkAddress checks host:port. An address to dial needs a host and a port; one
// to listen on may leave out the host, and port 0 takes any free one.
func checkAddress(s string, dial bool) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("must be HOST:PORT, like 10.0.0.7:7900 or [::1]:7900")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is not a port number", port)
	}
	if dial && (host == "" || n == 0) {
		return errors.New("must have a host and a port, because others connect to it")
	}
	return nil
}

func list(at func(*Values) *[]string) setter {
	return field(at, func(s string) ([]string, error) { return splitList(s), nil })
}

func addresses(at func(*Values) *[]string) setter {
	return field(at, func(s string) ([]string, error) {
		all := splitList(s)
		for _, a := range all {
			if err := checkAddress(a, true); err != nil {
				return nil, fmt.Errorf("%q: %w", a, err)
			}
		}
		return all, nil
	})
}

// splitList splits at commas; blanks around names and empty names are dropped.
// The result is never nil: an empty list that was asked for is not a missing one.
func splitList(s string) []string {
	all := []string{}
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// LogLevel returns the level of a name: debug, info, warn or error.
func LogLevel(name string) (slog.Level, error) {
	l, ok := logLevels[name]
	if !ok {
		return 0, errors.New("must be debug, info, warn or error")
	}
	return l, nil
}

func logLevel(v *Values, text string) (err error) {
	v.LogLevel, err = LogLevel(text)
	return err
}
