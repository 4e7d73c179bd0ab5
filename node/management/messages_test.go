package management

import (
	"fmt"
	"strings"
	"testing"

	"warren/fsm/command"
)

// TestPublishLargeHeaders refuses a message that no client could be sent.
func TestPublishLargeHeaders(t *testing.T) {
	a := newAPI(t)
	a.must(&command.QueueDeclare{VHost: "/", Name: "q", Durable: true})
	body := func(size int) string {
		return fmt.Sprintf(`{"properties":{"headers":{"h":%q}},"routing_key":"q","payload":"x"}`, strings.Repeat("h", size))
	}
	a.do("POST", "/api/exchanges/%2F/amq.default/publish", body(130_000), 200, `{"routed":true}`)
	a.do("POST", "/api/exchanges/%2F/amq.default/publish", body(128<<10), 400, "")
}
