package main

import (
	"slices"
	"testing"
)

// wantSent checks the requests since the last time, and their bodies.
func (f *fake) wantSent(t *testing.T, requests, bodies []string) {
	t.Helper()
	if !slices.Equal(f.requests, requests) || !slices.Equal(f.bodies, bodies) {
		t.Errorf("sent %q with %q, want %q with %q", f.requests, f.bodies, requests, bodies)
	}
	f.requests, f.bodies = nil, nil
}

func TestVHostVerbs(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/vhosts/old":                        {200, `{"name":"old"}`},
		"PUT /api/vhosts/old":                        {204, ""},
		"PUT /api/vhosts/a%2Fb":                      {201, ""},
		"DELETE /api/vhosts/old":                     {204, ""},
		"DELETE /api/vhosts/safe":                    {412, `{"error":"precondition_failed","reason":"Refusing to delete virtual host 'safe' because it is protected from deletion"}`},
		"POST /api/vhosts/old/deletion/protection":   {204, ""},
		"DELETE /api/vhosts/old/deletion/protection": {204, ""},
		"GET /api/vhosts":                            {200, `[{"name":"/","tags":[],"protected_from_deletion":false},{"name":"v","tags":["a","b"],"protected_from_deletion":true}]`},
	})
	f.expect(t, []string{"add_vhost", "a/b", "-d", "text", "--tags", "x,y", "--default-queue-type", "quorum"}, 0, "Adding vhost \"a/b\" ...\n", "")
	f.wantSent(t, []string{"GET /api/vhosts/a%2Fb", "PUT /api/vhosts/a%2Fb"},
		[]string{`{"default_queue_type":"quorum","description":"text","tags":"x,y"}`})
	f.expect(t, []string{"add_vhost", "old"}, 0, "Adding vhost \"old\" ...\n", "")
	f.wantSent(t, []string{"GET /api/vhosts/old"}, nil)
	f.expect(t, []string{"add_vhost", "-q", "v", "--default-queue-type", "odd"}, 64, "",
		"Error: Default queue type must be one of: classic, quorum. Provided: odd\n")
	f.expect(t, []string{"delete_vhost", "old"}, 0, "Deleting vhost \"old\" ...\n", "")
	f.expect(t, []string{"delete_vhost", "-q", "none"}, 65, "", "Error: Virtual host 'none' does not exist\n")
	f.expect(t, []string{"delete_vhost", "-q", "safe"}, 65, "",
		"Error: node NODE: Refusing to delete virtual host 'safe' because it is protected from deletion\n")
	f.requests, f.bodies = nil, nil
	f.expect(t, []string{"update_vhost_metadata", "old", "--description", ""}, 0, "Updating metadata of vhost \"old\" ...\n", "")
	f.wantSent(t, []string{"GET /api/vhosts/old", "PUT /api/vhosts/old"}, []string{`{"description":""}`})
	f.expect(t, []string{"update_vhost_metadata", "-q", "none", "--tags", "x"}, 65, "", "Error: Virtual host 'none' does not exist\n")
	f.expect(t, []string{"update_vhost_metadata", "-q", "old"}, 64, "",
		"Error: not enough arguments: say what to change, by --description, --tags or --default-queue-type\n")
	f.requests = nil
	f.expect(t, []string{"set_vhost_tags", "old", "a", "b"}, 0, "Setting tags for virtual host \"old\" to [a, b] ...\n", "")
	f.wantSent(t, []string{"GET /api/vhosts/old", "PUT /api/vhosts/old"}, []string{`{"tags":["a","b"]}`})
	f.expect(t, []string{"enable_vhost_deletion_protection", "-q", "old"}, 0, "", "")
	f.expect(t, []string{"disable_vhost_protection_from_deletion", "-q", "old"}, 0, "", "")
	f.wantSent(t, []string{"POST /api/vhosts/old/deletion/protection", "DELETE /api/vhosts/old/deletion/protection"}, nil)
	f.expect(t, []string{"enable_vhost_deletion_protection", "-q", "none"}, 65, "", "Error: Virtual host 'none' does not exist\n")
	f.expect(t, []string{"list_vhosts", "-q", "name", "tags", "protected_from_deletion"}, 0,
		"name\ttags\tprotected_from_deletion\n/\t[]\tfalse\nv\t[a, b]\ttrue\n", "")
	f.expect(t, []string{"list_vhosts", "--formatter", "json", "name", "tags"}, 0,
		"[\n{\"name\":\"/\",\"tags\":[]},\n{\"name\":\"v\",\"tags\":[\"a\",\"b\"]}\n]\n", "")
}

func TestLimitVerbs(t *testing.T) {
	f := newFake(t, answers{
		"PUT /api/parameters/vhost-limits/%2F/limits":    {204, ""},
		"PUT /api/parameters/vhost-limits/bad/limits":    {400, `{"error":"bad_request","reason":"Validation failed"}`},
		"DELETE /api/parameters/vhost-limits/%2F/limits": {204, ""},
		"GET /api/vhost-limits":                          {200, `[{"vhost":"/","value":{"max-queues":1}},{"vhost":"v","value":{"max-connections":0}}]`},
		"GET /api/vhost-limits/%2F":                      {200, `[{"vhost":"/","value":{"max-queues":1}}]`},
		"GET /api/vhost-limits/free":                     {200, `[]`},
		"PUT /api/user-limits/u/max-channels":            {204, ""},
		"PUT /api/user-limits/u/max-connections":         {204, ""},
		"DELETE /api/user-limits/u/all":                  {204, ""},
		"GET /api/user-limits":                           {200, `[{"user":"u","value":{"max-channels":1}}]`},
		"GET /api/user-limits/guest":                     {200, `[]`},
		"GET /api/user-limits/u":                         {200, `[{"user":"u","value":{"max-channels":1}}]`},
	})
	f.expect(t, []string{"set_vhost_limits", `{"max-queues": 1}`}, 0, "Setting vhost limits to \"{\"max-queues\": 1}\" for vhost \"/\" ...\n", "")
	f.wantSent(t, []string{"PUT /api/parameters/vhost-limits/%2F/limits"}, []string{`{"value":{"max-queues":1}}`})
	f.expect(t, []string{"set_vhost_limits", "-q", "-p", "none", "{}"}, 65, "", "Error: Virtual host 'none' does not exist\n")
	f.expect(t, []string{"set_vhost_limits", "-q", "-p", "bad", `{"max-odd":1}`}, 65, "", "Error: node NODE: Validation failed\n")
	f.expect(t, []string{"set_vhost_limits", "-q", "junk"}, 65, "",
		"Error: Could not parse JSON document: invalid character 'j' looking for beginning of value\n")
	f.expect(t, []string{"clear_vhost_limits"}, 0, "Clearing vhost \"/\" limits ...\n", "")
	f.expect(t, []string{"clear_vhost_limits", "-q", "-p", "none"}, 65, "", "Error: Parameter does not exist\n")
	f.expect(t, []string{"list_vhost_limits"}, 0, "Listing limits for vhost \"/\" ...\n{\"max-queues\":1}\n", "")
	f.expect(t, []string{"list_vhost_limits", "-q", "-p", "free"}, 0, "\n", "")
	f.expect(t, []string{"list_vhost_limits", "-q", "-p", "none"}, 65, "", "Error: Virtual host 'none' does not exist\n")
	f.expect(t, []string{"list_vhost_limits", "--global"}, 0,
		"Listing limits for all vhosts ...\nvhost\tlimits\n/\t{\"max-queues\":1}\nv\t{\"max-connections\":0}\n", "")
	f.requests, f.bodies = nil, nil
	f.expect(t, []string{"set_user_limits", "u", `{"max-connections":5,"max-channels":1}`}, 0,
		"Setting user limits to \"{\"max-connections\":5,\"max-channels\":1}\" for user \"u\" ...\n", "")
	f.wantSent(t, []string{"PUT /api/user-limits/u/max-channels", "PUT /api/user-limits/u/max-connections"}, []string{`{"value":1}`, `{"value":5}`})
	f.expect(t, []string{"set_user_limits", "-q", "u", `{"max-channels":1,"max-odd":1}`}, 65, "", "Error: Unrecognised terms [{<<\"max-odd\">>,1}] in user-limits\n")
	f.wantSent(t, nil, nil)
	f.expect(t, []string{"clear_user_limits", "u", "all"}, 0, "Clearing all limits for user \"u\" ...\n", "")
	f.expect(t, []string{"clear_user_limits", "-q", "none", "max-channels"}, 67, "", "Error: User 'none' does not exist\n")
	f.expect(t, []string{"list_user_limits"}, 0, "Listing limits for user \"guest\" ...\n\n", "")
	f.expect(t, []string{"list_user_limits", "--user", "u"}, 0, "Listing limits for user \"u\" ...\n{\"max-channels\":1}\n", "")
	f.expect(t, []string{"list_user_limits", "-q", "--user", "none"}, 67, "", "Error: User 'none' does not exist\n")
	f.expect(t, []string{"list_user_limits", "--global", "--formatter", "json"}, 0, "[\n{\"user\":\"u\",\"limits\":\"{\\\"max-channels\\\":1}\"}\n]\n", "")
}

func TestCloseVerbs(t *testing.T) {
	const connections = `[{"name":"a -> b"},{"name":"gone"},{"name":"c -> d"}]`
	f := newFake(t, answers{
		"GET /api/vhosts/%2F/connections":      {200, connections},
		"GET /api/vhosts/v/connections":        {200, `[{"name":"e"}]`},
		"GET /api/connections":                 {200, connections},
		"DELETE /api/connections/a%20-%3E%20b": {204, ""},
		"DELETE /api/connections/c%20-%3E%20d": {204, ""},
		"DELETE /api/connections/e":            {204, ""},
		"DELETE /api/connections/username/u":   {204, ""},
		"GET /api/vhosts/v/channels":           {200, `[]`},
	})
	f.expect(t, []string{"close_all_connections", "why"}, 0, "Closing all connections in vhost /, reason: why...\nClosed 2 connections\n", "")
	if f.reason != "why" {
		t.Errorf("the reason was %q", f.reason)
	}
	f.requests = nil
	f.expect(t, []string{"close_all_connections", "--limit", "1", "--per-connection-delay", "1", "why"}, 0,
		"Closing 1 connections in vhost /, reason: why...\nClosed 1 connections\n", "")
	f.wantSent(t, []string{"GET /api/vhosts/%2F/connections", "DELETE /api/connections/a%20-%3E%20b"}, nil)
	f.expect(t, []string{"close_all_connections", "--global", "why"}, 0, "Closing all connections of all nodes, reason: why...\nClosed 2 connections\n", "")
	f.expect(t, []string{"close_all_connections", "-q", "-p", "v", "why"}, 0, "Closed 1 connections\n", "")
	f.expect(t, []string{"close_all_connections", "-q", "-p", "none", "why"}, 65, "", "Error: Virtual host 'none' does not exist\n")
	f.expect(t, []string{"close_all_connections", "-q", "--limit", "-1", "why"}, 64, "", "Error: --limit and --per-connection-delay cannot be negative\n")
	f.expect(t, []string{"close_all_user_connections", "u", "because"}, 0, "Closing connections of user u, reason: because...\n", "")
	if f.reason != "because" {
		t.Errorf("the reason was %q", f.reason)
	}
	f.requests = nil
	f.expect(t, []string{"list_connections", "-q", "-p", "v", "name"}, 0, "name\ne\n", "")
	f.expect(t, []string{"list_channels", "-q", "--vhost", "v", "name"}, 0, "", "")
	f.expect(t, []string{"list_connections", "-q", "-p", "none", "name"}, 65, "", "Error: Virtual host 'none' does not exist\n")
	f.wantSent(t, []string{"GET /api/vhosts/v/connections", "GET /api/vhosts/v/channels", "GET /api/vhosts/none/connections"}, nil)
}
