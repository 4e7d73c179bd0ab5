package management

import (
	"encoding/json"
	"testing"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// TestDefinitions exports what there is, and imports it into an empty broker: the export of
// that is the same.
//
// row: 1.8 definitions
func TestDefinitions(t *testing.T) {
	a := newAPI(t)
	a.must(&command.VHostPut{Name: "v", SetDescription: true, Description: "d", SetTags: true, Tags: []string{"x"}, SetType: true, DefaultType: "quorum", SetProtected: true, Protected: true})
	a.must(&command.VHostLimits{VHost: "v", Limits: command.Limits{Set: []command.Limit{{Name: "max-queues", Value: 10}}}})
	a.must(&command.UserPut{Name: "ann", SetPassword: true, Hash: "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", Algorithm: defaultHashing, SetTags: true, Tags: []string{"management"}})
	a.must(&command.UserLimits{User: "ann", Limits: command.Limits{Set: []command.Limit{{Name: "max-channels", Value: 9}}}})
	a.must(&command.PermissionSet{User: "ann", VHost: "v", Configure: "^a", Write: ".*", Read: ""})
	a.must(&command.TopicPermissionSet{User: "ann", VHost: "v", Exchange: "x", Write: "^w", Read: "^r"})
	for _, operator := range []bool{false, true} {
		a.must(&command.PolicyPut{VHost: "v", Name: "p", Operator: operator, Pattern: "^q", ApplyTo: "queues", Priority: 3,
			Definition: wire.Table{{Name: "max-length", Value: int64(7)}}})
	}
	a.must(&command.ParameterPut{VHost: "v", Component: "shovel", Name: "s", Value: `{"src-uri":"amqp://","b":1,"a":2}`})
	a.must(&command.GlobalParameterPut{Name: "cluster_name", Value: `"rabbits"`})
	a.must(&command.GlobalParameterPut{Name: "internal_cluster_id", Value: `"x"`})
	for _, vhost := range []string{"/", "v"} {
		a.must(&command.ExchangeDeclare{VHost: vhost, Name: "x", Type: "topic", Durable: true, Args: wire.Table{{Name: "alternate-exchange", Value: "y"}}})
		a.must(&command.ExchangeDeclare{VHost: vhost, Name: "y", Type: "fanout", AutoDelete: true, Internal: true})
		a.must(&command.QueueDeclare{VHost: vhost, Name: "q", Durable: true, Args: wire.Table{{Name: "x-message-ttl", Value: int64(1000)}}})
		a.must(&command.QueueDeclare{VHost: vhost, Name: "amq.gen-1", AutoDelete: true, Generated: true})
		a.must(&command.QueueDeclare{VHost: vhost, Name: "mine", Conn: 7, Exclusive: true})
		a.must(&command.Bind{Binding: command.Binding{VHost: vhost, Source: "x", Destination: "q", Key: "a.#"}})
		a.must(&command.Bind{Binding: command.Binding{VHost: vhost, Source: "x", Destination: "y", ToExchange: true, Args: wire.Table{{Name: "k", Value: "v"}}}})
		a.must(&command.Bind{Binding: command.Binding{VHost: vhost, Conn: 7, Source: "x", Destination: "mine"}})
	}
	a.do("GET", "/api/definitions", "", 200, `{"rabbit_version":"`+apiLevel+`","vhosts":[{"name":"/"},
		{"name":"v","description":"d","tags":["x"],"default_queue_type":"quorum","metadata":{"description":"d","tags":["x"],"protected_from_deletion":true}}],
		"parameters":[{"component":"vhost-limits","name":"limits","vhost":"v","value":{"max-queues":10}},
			{"component":"operator_policy","name":"p","vhost":"v","value":{"pattern":"^q","apply-to":"queues","priority":3,"definition":{"max-length":7}}},
			{"component":"shovel","name":"s","vhost":"v","value":{"src-uri":"amqp://","a":2,"b":1}}],
		"global_parameters":[{"name":"cluster_name","value":"rabbits"}],
		"policies":[{"vhost":"v","name":"p","pattern":"^q","apply-to":"queues","priority":3,"definition":{"max-length":7}}],
		"exchanges":[{"name":"x","vhost":"/","type":"topic","durable":true,"auto_delete":false,"internal":false,"arguments":{"alternate-exchange":"y"}},
			{"name":"y","auto_delete":true,"internal":true},{"name":"x","vhost":"v"},{"name":"y","vhost":"v"}],
		"queues":[{"name":"amq.gen-1","vhost":"/","durable":false,"auto_delete":true},
			{"name":"q","vhost":"/","durable":true,"auto_delete":false,"arguments":{"x-message-ttl":1000}},
			{"name":"amq.gen-1","vhost":"v"},{"name":"q","vhost":"v","arguments":{"x-message-ttl":1000,"x-queue-type":"quorum"}}],
		"bindings":[{"source":"x","vhost":"/","destination":"q","destination_type":"queue","routing_key":"a.#","arguments":{}},
			{"source":"x","vhost":"/","destination":"y","destination_type":"exchange","arguments":{"k":"v"}},
			{"vhost":"v"},{"vhost":"v"}]}`)
	file := a.request("GET", "/api/definitions", "").Body.String()
	if old := a.request("GET", "/api/all-configuration", "").Body.String(); old != file {
		t.Errorf("by their old name: %s", old)
	}
	other := newAPI(t)
	for range 2 { // the second time all is there
		other.do("POST", "/api/definitions", file, 204, "")
		if again := other.request("GET", "/api/definitions", "").Body.String(); again != file {
			t.Errorf("imported and exported again:\n%s\nand not\n%s", again, file)
		}
	}

	// One vhost goes into another one.
	one := a.request("GET", "/api/definitions/v", "").Body.String()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(one), &fields); err != nil || fields["vhosts"] != nil {
		t.Fatalf("definitions of a vhost: %v, %s", err, one)
	}
	other.do("PUT", "/api/vhosts/w", `{}`, 201, "")
	other.do("POST", "/api/definitions/w", one, 204, "")
	other.do("GET", "/api/queues/w?sort=name", "", 200, `[{"name":"amq.gen-1"},{"name":"q","arguments":{"x-message-ttl":1000}}]`)
	other.do("GET", "/api/parameters/shovel/w/s", "", 200, `{"value":{"src-uri":"amqp://"},"vhost":"w"}`)
	other.do("GET", "/api/vhost-limits/w", "", 200, `[{"value":{"max-queues":10}}]`)
	other.do("POST", "/api/definitions/none", one, 404, notFoundBody)
	other.do("GET", "/api/definitions/none", "", 404, notFoundBody)
}

// TestForeignDefinitions imports what RabbitMQ 4.0.5 wrote, and things that are wrong.
//
// row: 1.8 definitions
func TestForeignDefinitions(t *testing.T) {
	a := newAPI(t)
	a.do("POST", "/api/definitions", `{"permissions":[],"bindings":[],"queues":[{"name":"q","vhost":"v1","durable":true,"auto_delete":false,"type":"quorum","arguments":{}}],
		"parameters":[{"component":"vhost-limits","name":"limits","value":{"max-connections":0,"max-queues":1},"vhost":"v1"},
			{"component":"shovel","name":"s","vhost":"v1","value":{}},
			{"component":"unheard-of","name":"u","vhost":"v1","value":[1, "a"]}],
		"policies":[],"rabbitmq_version":"4.0.5","rabbit_version":"4.0.5","exchanges":[],
		"vhosts":[{"default_queue_type":"quorum","limits":[["max-connections",0],["max-queues",1]],"metadata":{"description":"a b","tags":["a","b"],"default_queue_type":"quorum"},"name":"v1"},
			{"default_queue_type":"classic","limits":[],"metadata":{"description":"Default virtual host","tags":[]},"name":"/"}],
		"global_parameters":[{"name":"cluster_tags","value":[]},{"name":"internal_cluster_id","value":"rabbitmq-cluster-id-x"}],"topic_permissions":[]}`, 204, "")
	a.do("GET", "/api/vhosts/v1", "", 200, `{"description":"a b","tags":["a","b"],"default_queue_type":"quorum"}`)
	a.do("GET", "/api/vhost-limits", "", 200, `[{"vhost":"v1","value":{"max-connections":0,"max-queues":1}}]`)
	a.do("GET", "/api/queues/v1/q", "", 200, `{"arguments":{"x-queue-type":"quorum"}}`)
	a.do("GET", "/api/parameters?columns=component,name,value", "", 200, `[{"component":"vhost-limits"},{"component":"shovel","name":"s","value":{}},
		{"component":"unheard-of","name":"u","value":[1,"a"]}]`)
	a.do("GET", "/api/global-parameters", "", 200, `[{"name":"cluster_tags","value":[]}]`)
	for body, reason := range map[string]string{
		`{"queues":5}`:                             "queues is no list",
		`{"queues":[{"name":"q"}]}`:                "queue 'q' names no vhost",
		`{"queues":[{"name":"q","vhost":"none"}]}`: "vhost 'none' not found",
		`{"bindings":[{"vhost":"/","source":"x","destination":"q","destination_type":"odd"}]}`: "binding to 'q' has destination type 'odd'",
	} {
		a.do("POST", "/api/definitions", body, 400, `{"error":"bad_request","reason":"`+reason+`"}`)
	}
	a.do("POST", "/api/definitions", `{"vhosts":[{"name":"before"}],"queues":[{"name":"q"}]}`, 400, "")
	a.do("GET", "/api/vhosts/before", "", 404, notFoundBody) // nothing was done
}
