package management

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// A looseBool is true or false in JSON, or one of them as text: RabbitMQ takes both, and its rabbitmqadmin sends texts.
type looseBool bool

// UnmarshalJSON reads either form.
func (b *looseBool) UnmarshalJSON(data []byte) error {
	switch string(bytes.Trim(data, `"`)) {
	case "true":
		*b = true
	case "false", "null":
		*b = false
	default:
		return fmt.Errorf("%s is neither true nor false", data)
	}
	return nil
}

// A looseInt is a whole number in JSON, or one as text.
type looseInt int

// UnmarshalJSON reads either form.
func (n *looseInt) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		text = string(data)
	}
	v, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%s is no whole number", data)
	}
	*n = looseInt(v)
	return nil
}
