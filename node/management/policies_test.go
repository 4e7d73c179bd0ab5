package management

import "testing"

// row: 1.8 policies and limits
func TestPolicies(t *testing.T) {
	for _, kind := range []string{"policies", "operator-policies"} {
		a := newAPI(t)
		a.fill()
		a.do("GET", "/api/"+kind, "", 200, `[]`)
		a.do("PUT", "/api/"+kind+"/%2F/p", `{"pattern":"^jobs","definition":{"max-length":5},"priority":2,"apply-to":"queues"}`, 201, "")
		one := `{"vhost":"/","name":"p","pattern":"^jobs","apply-to":"queues","definition":{"max-length":5},"priority":2}`
		a.do("GET", "/api/"+kind+"/%2F/p", "", 200, one)
		a.do("PUT", "/api/"+kind+"/%2F/p", one, 204, "") // what GET gives can be put
		a.do("PUT", "/api/"+kind+"/%2F/a", `{"pattern":"","definition":{"message-ttl":0}}`, 201, "")
		a.do("GET", "/api/"+kind+"/%2F", "", 200, `[{"name":"a","apply-to":"all","priority":0},`+one+`]`)
		a.do("GET", "/api/"+kind+"?columns=name&sort=priority&sort_reverse=true", "", 200, `[{"name":"p"},{"name":"a"}]`)
		a.do("GET", "/api/"+kind+"/other", "", 404, notFoundBody)
		a.do("PUT", "/api/"+kind+"/other/p", one, 404, notFoundBody)
		a.do("GET", "/api/"+kind+"/%2F/nothing", "", 404, notFoundBody)
		for body, reason := range map[string]string{
			`{"definition":{"max-length":5}}`:                              `Key \"pattern\" not found in p`,
			`{"pattern":"a"}`:                                              "no policy provided",
			`{"pattern":"a","definition":{}}`:                              "no policy provided",
			`{"pattern":"a","definition":{"max-length":-1}}`:               "-1 is not a valid maximum length",
			`{"pattern":"a","definition":{"ha-mode":"all"}}`:               `[{<<\"ha-mode\">>,<<\"all\">>}] are not recognised policy settings`,
			`{"pattern":"a","priority":"1","definition":{"max-length":1}}`: `priority should be a number, actually was \"1\"`,
			`{"pattern":"a","priority":1.5,"definition":{"max-length":1}}`: `priority should be a number, actually was 1.5`,
		} {
			a.do("PUT", "/api/"+kind+"/%2F/p", body, 400, `{"error":"bad_request","reason":"Validation failed\n\n`+reason+`\n"}`)
		}
		a.do("PUT", "/api/"+kind+"/%2F/p", `{"pattern":1,"definition":{"max-length":5}}`, 400, `{"error":"bad_request"}`)
		a.do("GET", "/api/"+kind+"/%2F/p", "", 200, one)
		a.do("DELETE", "/api/"+kind+"/%2F/p", "", 204, "")
		a.do("DELETE", "/api/"+kind+"/%2F/p", "", 404, notFoundBody)
	}
}

func TestPoliciesShown(t *testing.T) {
	a := newAPI(t)
	a.do("PUT", "/api/queues/%2F/q", "", 201, "")
	a.do("GET", "/api/queues/%2F/q", "", 200, `{"policy":null,"operator_policy":null,"effective_policy_definition":{}}`)
	a.do("PUT", "/api/policies/%2F/p", `{"pattern":"","definition":{"max-length":5,"alternate-exchange":"amq.fanout"}}`, 201, "")
	a.do("PUT", "/api/operator-policies/%2F/o", `{"pattern":"^q$","definition":{"max-length":3,"expires":1000000}}`, 201, "")
	a.do("GET", "/api/queues/%2F/q", "", 200, `{"policy":"p","operator_policy":"o",
		"effective_policy_definition":{"max-length":3,"expires":1000000,"alternate-exchange":"amq.fanout"}}`)
	a.do("GET", "/api/queues", "", 200, `[{"policy":"p","operator_policy":"o"}]`)
	a.do("GET", "/api/exchanges/%2F/amq.direct", "", 200, `{"policy":"p","operator_policy":null,"effective_policy_definition":{"max-length":5}}`)
	a.do("GET", "/api/exchanges/%2F?columns=name,policy", "", 200, `[{"policy":"p"},{},{},{},{},{},{}]`)
}
