package command

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"warren/protocol/wire"
)

// PropertiesFault says what is wrong with the properties user-id and expiration of a message
// that a user publishes, in RabbitMQ's words; "" when nothing is. impersonates reports whether
// the user may publish in the name of others
// (https://www.rabbitmq.com/docs/validated-user-id).
func PropertiesFault(properties []byte, user string, impersonates func() bool) string {
	if wire.Present(properties)&(wire.FlagUserID|wire.FlagExpiration) == 0 {
		return ""
	}
	if id, ok := wire.ShortProperty(properties, wire.FlagUserID); ok && string(id) != user && !impersonates() {
		return fmt.Sprintf("user_id property set to '%s' but authenticated user was '%s'", id, user)
	}
	if v, ok := wire.ShortProperty(properties, wire.FlagExpiration); ok {
		if fault := expirationFault(string(v)); fault != "" {
			return fmt.Sprintf("invalid expiration '%s': %s", v, fault)
		}
	}
	return ""
}

// expirationFault says what is wrong with an expiration, as Erlang prints it (see
// parse_expiration in rabbit_basic); empty: nothing.
func expirationFault(s string) string {
	end := 0
	if end < len(s) && (s[end] == '-' || s[end] == '+') {
		end++
	}
	digits := end
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == digits {
		return "no_integer"
	}
	if end < len(s) {
		return `{leftover_string,` + strconv.Quote(s[end:]) + `}`
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case strings.HasPrefix(s, "-") && (err != nil || n < 0):
		return "{value_negative," + s + "}"
	case err != nil || n > math.MaxUint32:
		return "{value_too_big," + strings.TrimPrefix(s, "+") + "}"
	}
	return ""
}
