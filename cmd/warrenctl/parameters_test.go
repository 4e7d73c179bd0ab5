package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestParameters(t *testing.T) {
	f := newFake(t, answers{
		"PUT /api/parameters/shovel/%2F/s":    {201, ""},
		"PUT /api/parameters/odd/eu/s":        {400, `{"error":"bad_request","reason":"Validation failed\n\ncomponent odd not found\n"}`},
		"DELETE /api/parameters/shovel/%2F/s": {204, ""},
		"GET /api/parameters":                 {200, `[{"vhost":"/","component":"shovel","name":"s","value":{"src-queue":"q"}},{"vhost":"eu","component":"shovel","name":"t","value":1}]`},
		"GET /api/vhosts/%2F":                 {200, `{"name":"/"}`},
		"GET /api/vhosts/eu":                  {200, `{"name":"eu"}`},
		"PUT /api/global-parameters/mqtt":     {201, ""},
		"DELETE /api/global-parameters/mqtt":  {204, ""},
		"GET /api/global-parameters":          {200, `[{"name":"cluster_name","value":"rabbits"}]`},
		"PUT /api/cluster-name":               {204, ""},
	})
	f.expect(t, []string{"set_parameter", "shovel", "s", `{"src-queue":"q"}`}, 0,
		"Setting runtime parameter \"s\" for component \"shovel\" to \"{\"src-queue\":\"q\"}\" in vhost \"/\" ...\n", "")
	if want := `{"value":{"src-queue":"q"}}`; f.body != want {
		t.Errorf("sent %s, want %s", f.body, want)
	}
	f.expect(t, []string{"set_parameter", "-q", "-p", "eu", "odd", "s", `{}`}, exitData, "", "Error: node NODE: Validation failed\n\ncomponent odd not found\n\n")
	f.expect(t, []string{"set_parameter", "-q", "-p", "none", "shovel", "s", `{}`}, exitData, "", "Error: Virtual host 'none' does not exist\n")
	f.expect(t, []string{"set_parameter", "-q", "shovel", "s", `{`}, exitData, "", "Error: Could not parse JSON document: unexpected end of JSON input\n")
	f.expect(t, []string{"clear_parameter", "shovel", "s"}, 0, "Clearing runtime parameter \"s\" for component \"shovel\" on vhost \"/\" ...\n", "")
	f.expect(t, []string{"clear_parameter", "-q", "shovel", "gone"}, exitData, "", "Error: Parameter does not exist\n")
	f.expect(t, []string{"list_parameters"}, 0, "Listing runtime parameters for vhost \"/\" ...\ncomponent\tname\tvalue\nshovel\ts\t{\"src-queue\":\"q\"}\n", "")
	if want := "component,name,value,vhost"; f.columns != want {
		t.Errorf("asked for columns %s, want %s", f.columns, want)
	}
	f.expect(t, []string{"list_parameters", "-s", "-p", "eu", "name"}, 0, "t\n", "")
	f.expect(t, []string{"list_parameters", "-q", "-p", "none"}, exitData, "", "Error: Virtual host 'none' does not exist\n")
	f.expect(t, []string{"set_global_parameter", "mqtt", `"on"`}, 0, "Setting global runtime parameter \"mqtt\" to \"\"on\"\" ...\n", "")
	f.expect(t, []string{"clear_global_parameter", "mqtt"}, 0, "Clearing global runtime parameter \"mqtt\" ...\n", "")
	f.expect(t, []string{"clear_global_parameter", "-q", "gone"}, exitData, "", "Error: Parameter does not exist\n")
	f.expect(t, []string{"list_global_parameters"}, 0, "Listing global runtime parameters ...\nname\tvalue\ncluster_name\t\"rabbits\"\n", "")
	f.expect(t, []string{"set_cluster_name", "rabbits"}, 0, "Setting cluster name to rabbits ...\n", "")
	if want := `{"name":"rabbits"}`; f.body != want {
		t.Errorf("sent %s, want %s", f.body, want)
	}
}

// TestParameterFromInput reads a value from the standard input, and shows it nowhere.
func TestParameterFromInput(t *testing.T) {
	f := newFake(t, answers{"PUT /api/parameters/shovel/%2F/s": {201, ""}})
	var out, errs bytes.Buffer
	o := &options{out: &out}
	code := o.execute(t.Context(), []string{"-n", f.URL, "set_parameter", "shovel", "s", "-"}, strings.NewReader(`{"src-uri":"amqp://u:secret@h"}`+"\n"), &out, &errs)
	if want := `{"value":{"src-uri":"amqp://u:secret@h"}}`; code != 0 || f.body != want {
		t.Errorf("exit code %d, sent %s, want %s; %s", code, f.body, want, &errs)
	}
	if strings.Contains(out.String(), "secret") {
		t.Errorf("it printed %s", &out)
	}
}
