package wire

import "errors"

// MaxDepth is the greatest nesting of tables and arrays that is accepted; the
// outermost table is depth 1. RabbitMQ has no such limit; ours keeps a hostile
// table from using up the stack.
const MaxDepth = 64

// Errors of reading bytes. They say what is wrong with the bytes, never where
// they came from; test with errors.Is.
var (
	ErrTruncated = errors.New("truncated: a length points past the end of the data")
	ErrTrailing  = errors.New("bytes left over behind the last property")
	ErrDepth     = errors.New("tables and arrays nested too deeply")
	ErrType      = errors.New("unknown field type")
)

// Errors of CheckTable, which looks at tables that were made and not read.
var (
	ErrName      = errors.New("field name longer than 255 bytes")
	ErrValueType = errors.New("value of a Go type that a field cannot hold")
	ErrTooLong   = errors.New("value longer than a 32-bit length can say")
)
