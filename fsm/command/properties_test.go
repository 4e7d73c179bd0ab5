package command

import "testing"

func TestExpirationFault(t *testing.T) {
	for s, want := range map[string]string{
		"0": "", "60000": "", "+5": "", "4294967295": "",
		"": "no_integer", "x": "no_integer", "-": "no_integer",
		"1.5": `{leftover_string,".5"}`, "-1": "{value_negative,-1}",
		"4294967296": "{value_too_big,4294967296}", "99999999999999999999": "{value_too_big,99999999999999999999}",
	} {
		if got := expirationFault(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
