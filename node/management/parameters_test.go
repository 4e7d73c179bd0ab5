package management

import (
	"encoding/json"
	"strings"
	"testing"

	"warren/fsm/command"
)

func TestParameters(t *testing.T) {
	a := newAPI(t)
	a.must(&command.VHostPut{Name: "v"})
	shovel := `{"src-uri":"amqp://","src-queue":"q","dest-uri":["amqps://h/%2f"],"dest-exchange":"x","src-delete-after":5}`
	a.do("GET", "/api/parameters", "", 200, `[]`)
	a.do("PUT", "/api/parameters/shovel/%2F/s", `{"value": `+shovel+` }`, 201, "")
	one := `{"component":"shovel","vhost":"/","name":"s","value":` + shovel + `}`
	a.do("GET", "/api/parameters/shovel/%2F/s", "", 200, one)
	a.do("PUT", "/api/parameters/shovel/%2F/s", one, 204, "") // what GET gives can be put
	a.do("PUT", "/api/parameters/federation-upstream/v/u", `{"value":{"uri":"amqp://a","ack-mode":"no-ack","trust-user-id":true}}`, 201, "")
	a.do("PUT", "/api/parameters/federation-upstream-set/v/set", `{"value":[{"upstream":"u"}]}`, 201, "")
	a.do("PUT", "/api/policies/%2F/p", `{"pattern":"","definition":{"max-length":5}}`, 201, "")
	a.do("PUT", "/api/parameters/operator_policy/%2F/o", `{"value":{"pattern":"","definition":{"max-length":7}}}`, 201, "")
	a.do("GET", "/api/operator-policies/%2F/o", "", 200, `{"definition":{"max-length":7}}`)
	a.do("GET", "/api/parameters?columns=name", "", 200, `[{"name":"o"},{"name":"s"},{"name":"u"},{"name":"set"}]`)
	a.do("GET", "/api/parameters/shovel", "", 200, `[`+one+`]`)
	a.do("GET", "/api/parameters/shovel/v", "", 200, `[]`)
	a.do("GET", "/api/parameters/shovel/none", "", 404, notFoundBody)
	a.do("GET", "/api/parameters/policy", "", 200, `[{"component":"policy","name":"p","vhost":"/","value":{"definition":{"max-length":5}}}]`)
	a.do("GET", "/api/parameters/shovel/%2F/none", "", 404, notFoundBody)
	a.do("PUT", "/api/parameters/shovel/none/s", one, 404, `{"error":"not_found","reason":"vhost_not_found"}`)
	a.do("PUT", "/api/parameters/shovel/%2F/s", `{}`, 400, `{"error":"bad_request","reason":"[{key_missing,value}]"}`)
	a.do("PUT", "/api/parameters/policy/%2F/p", `{"value":{}}`, 400, `{"reason":"policies may not be set using this method"}`)
	a.do("DELETE", "/api/parameters/policy/%2F/p", "", 400, `{"reason":"policies may not be cleared using this method"}`)
	a.do("DELETE", "/api/parameters/operator_policy/%2F/o", "", 204, "")
	a.do("GET", "/api/operator-policies", "", 200, `[]`)
	a.do("DELETE", "/api/parameters/shovel/%2F/s", "", 204, "")
	a.do("DELETE", "/api/parameters/shovel/%2F/s", "", 404, notFoundBody)
	a.do("DELETE", "/api/vhosts/v", "", 204, "")
	a.do("GET", "/api/parameters", "", 200, `[]`)
}

func TestGlobalParameters(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/global-parameters", "", 200, `[]`)
	a.do("PUT", "/api/global-parameters/mqtt_default_vhosts", `{"value": {"O=client,CN=guest": "/"}}`, 201, "")
	a.do("PUT", "/api/global-parameters/n", `{"value":null}`, 201, "")
	a.do("PUT", "/api/global-parameters/n", `{"value":[1,2.50]}`, 204, "")
	a.do("PUT", "/api/global-parameters/n", `{"name":"n"}`, 400, `{"reason":"[{key_missing,value}]"}`)
	a.do("GET", "/api/global-parameters", "", 200, `[{"name":"mqtt_default_vhosts","value":{"O=client,CN=guest":"/"}},{"name":"n","value":[1,2.5]}]`)
	a.do("GET", "/api/global-parameters/n", "", 200, `{"name":"n","value":[1,2.5]}`)
	a.do("DELETE", "/api/global-parameters/n", "", 204, "")
	a.do("DELETE", "/api/global-parameters/n", "", 404, notFoundBody)
	a.do("GET", "/api/global-parameters/n", "", 404, notFoundBody)
	a.do("PUT", "/api/cluster-name", `{"name":"a \"name\""}`, 204, "")
	a.do("GET", "/api/global-parameters/cluster_name", "", 200, `{"value":"a \"name\""}`)
	a.do("PUT", "/api/cluster-name", `{}`, 400, `{"reason":"[{key_missing,name}]"}`)
}

// TestParameterFaults wants RabbitMQ's words for what is wrong with a parameter.
func TestParameterFaults(t *testing.T) {
	const uris = `"src-uri":"amqp://","dest-uri":"amqp://"`
	for _, test := range []struct{ component, value, want string }{
		{"odd", `{}`, "component odd not found"},
		{"shovel", `5`, "Must specify 'src-exchange' or 'src-queue'|n not a list 5"},
		{"shovel", `{}`, `Must specify 'src-exchange' or 'src-queue'|Key "dest-uri" not found in n|Key "src-uri" not found in n`},
		{"shovel", `{` + uris + `,"src-queue":"q","src-exchange":"x"}`, "Cannot specify 'src-exchange' and 'src-queue'"},
		{"shovel", `{` + uris + `,"src-queue":"q","dest-queue":"q","dest-exchange":"x"}`, "Cannot specify 'dest-exchange' and 'dest-queue'"},
		{"shovel", `{` + uris + `,"src-queue":"q","ack-mode":"no-ack","delete-after":3}`, "Cannot specify 'no-ack' and numerical 'delete-after'"},
		{"shovel", `{` + uris + `,"src-queue":5}`, "src-queue should be binary, actually was 5"},
		{"shovel", `{` + uris + `,"src-queue":"q","ack-mode":"never"}`,
			`ack-mode should be one of [<<"no-ack">>,<<"on-publish">>,<<"on-confirm">>], actually was <<"never">>`},
		{"shovel", `{` + uris + `,"src-queue":"q","src-delete-after":"soon"}`,
			`src-delete-after should be a number greater than or equal to 0, "never" or "queue-length", actually was <<"soon">>`},
		{"shovel", `{` + uris + `,"src-queue":"q","a":[1],"b":{"c":true}}`, `Unrecognised terms [{<<"a">>,[1]},{<<"b">>,#{<<"c">> => true}}] in n`},
		{"shovel", `{` + uris + `,"src-queue":"q","publish-properties":{"delivery_mode":"2"}}`, `delivery_mode should be a number, actually was <<"2">>`},
		{"shovel", `{"src-uri":"http://x","src-queue":"q","dest-uri":["amqp://",5]}`,
			`dest-uri should be list, actually was 5|"http://x" not a valid URI: {unexpected_uri_scheme,"http"}`},
		{"shovel", `{` + uris + `,"src-protocol":"amqp10","src-address":"/q","dest-protocol":"amqp10","dest-address":"/r"}`, ""},
		{"shovel", `{` + uris + `,"src-protocol":"amqp10","src-queue":"q"}`, `Unrecognised terms [{<<"src-queue">>,<<"q">>}] in n|Key "src-address" not found in n`},
		{"shovel", `{` + uris + `,"src-protocol":"local","src-queue":"q","dest-protocol":"local","dest-queue":"r","prefetch-count":5,"src-predeclared":true}`, ""},
		{"federation-upstream", `{}`, `Key "uri" not found in n`},
		{"federation-upstream", `{"uri":"amqp://","trust-user-id":1}`, "trust-user-id should be boolean, actually was 1"},
		{"federation-upstream-set", `[{}]`, `Key "upstream" not found in n`},
		{"federation-upstream-set", `{}`, `n not a list #{}`},
	} {
		got := strings.Join(parameterFaults(test.component, "n", json.RawMessage(test.value)), "|")
		if got != test.want {
			t.Errorf("%s %s: %s\nwant %s", test.component, test.value, got, test.want)
		}
	}
}
