package command

import (
	"fmt"

	"warren/protocol/wire"
)

// Headers that hold further routing keys (https://www.rabbitmq.com/docs/sender-selected).
const (
	HeaderCC  = "CC"
	HeaderBCC = "BCC" // is removed before anybody sees the message
)

// CheckKeys tells whether a property list has the headers CC or BCC, as Publish.Keyed
// says it. What is wrong with them is a fault in Erlang's terms, as RabbitMQ names it; ""
// when nothing is.
func CheckKeys(properties []byte) (keyed bool, fault string) {
	if !wire.AnyHeader(properties, HeaderCC, HeaderBCC) {
		return false, ""
	}
	for _, name := range [...]string{HeaderCC, HeaderBCC} {
		v, ok := wire.Header(properties, name)
		if _, isArray := v.(wire.Array); ok && !isArray {
			return false, fmt.Sprintf("{unacceptable_type_in_header,%q,%s}", name, wire.TypeName(v))
		}
	}
	return true, ""
}

// FurtherKeys returns the strings of the arrays CC and BCC. Other values in them
// mean nothing.
func FurtherKeys(properties []byte) [][]byte {
	var keys [][]byte
	for _, name := range [...]string{HeaderCC, HeaderBCC} {
		v, _ := wire.Header(properties, name)
		all, _ := v.(wire.Array)
		for _, v := range all {
			if key, ok := v.(string); ok {
				keys = append(keys, []byte(key))
			}
		}
	}
	return keys
}

// WithoutBCC returns the properties as receivers may see them.
func WithoutBCC(properties []byte) []byte {
	if !wire.AnyHeader(properties, HeaderBCC) {
		return properties
	}
	return wire.AppendWithoutHeader(make([]byte, 0, len(properties)), properties, HeaderBCC)
}
