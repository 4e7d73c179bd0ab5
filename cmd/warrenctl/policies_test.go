package main

import "testing"

func TestPolicies(t *testing.T) {
	f := newFake(t, answers{
		"PUT /api/policies/%2F/p":             {201, ""},
		"PUT /api/operator-policies/eu/p":     {204, ""},
		"PUT /api/policies/%2F/bad":           {400, `{"error":"bad_request","reason":"Validation failed\n\n-1 is not a valid maximum length\n"}`},
		"DELETE /api/policies/%2F/p":          {204, ""},
		"DELETE /api/operator-policies/%2F/p": {204, ""},
		"GET /api/policies/%2F":               {200, `[{"vhost":"/","name":"p","pattern":"^a","apply-to":"queues","definition":{"max-length":5},"priority":1}]`},
		"GET /api/operator-policies/%2F":      {200, `[]`},
	})
	f.expect(t, []string{"set_policy", "--priority", "1", "--apply-to", "queues", "p", "^a", `{"max-length":5}`}, 0,
		"Setting policy \"p\" for pattern \"^a\" to \"{\"max-length\":5}\" with priority \"1\" for vhost \"/\" ...\n", "")
	if want := `{"apply-to":"queues","definition":{"max-length":5},"pattern":"^a","priority":1}`; f.body != want {
		t.Errorf("sent %s, want %s", f.body, want)
	}
	f.expect(t, []string{"set_operator_policy", "-q", "-p", "eu", "p", "^a", `{"max-length":5}`}, 0, "", "")
	f.expect(t, []string{"set_policy", "-q", "bad", "^a", `{"max-length":-1}`}, exitData, "",
		"Error: node NODE: Validation failed\n\n-1 is not a valid maximum length\n\n")
	f.expect(t, []string{"set_policy", "-q", "p", "^a", `{`}, exitData, "", "Error: could not parse JSON document: unexpected end of JSON input\n")
	f.expect(t, []string{"set_policy", "-q", "--priority", "high", "p", "^a", `{}`}, exitData, "", "Error: high priority must be a number\n")
	f.expect(t, []string{"clear_policy", "p"}, 0, "Clearing policy \"p\" on vhost \"/\" ...\n", "")
	f.expect(t, []string{"clear_operator_policy", "-q", "p"}, 0, "", "")
	f.expect(t, []string{"clear_policy", "-q", "gone"}, exitData, "", "Error: there is no policy 'gone' in vhost '/'\n")
	f.expect(t, []string{"list_policies"}, 0, "Listing policies for vhost \"/\" ...\nvhost\tname\tpattern\tapply-to\tdefinition\tpriority\n/\tp\t^a\tqueues\t{\"max-length\":5}\t1\n", "")
	f.expect(t, []string{"list_operator_policies", "-q"}, 0, "", "")
}
