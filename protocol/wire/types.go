// Package wire holds the data types of AMQP 0-9-1 and their bytes: short and
// long strings, field tables and basic properties, as RabbitMQ encodes them.
// It does no I/O and knows neither frames nor methods.
package wire

// A Field is one name and value of a Table. Value holds one of these Go types,
// and nothing else (the tag is RabbitMQ's, https://www.rabbitmq.com/docs/amqp-0-9-1-errata):
//
//	t bool       b int8      B uint8     s int16    u uint16
//	I int32      i uint32    l int64     L int64 (read only: written as 'l')
//	f float32    d float64   D Decimal   S string   A Array
//	T Timestamp  F Table     V nil       x []byte
type Field struct {
	Name  string
	Value any
}

// A Table is a field table. The order of its fields is kept, so that encoding
// it twice gives the same bytes.
type Table []Field

// An Array is a field array; its elements have the types of Field.Value.
type Array []any

// A Timestamp is a moment in seconds since the Unix epoch.
type Timestamp uint64

// A Decimal is Value / 10^Scale.
type Decimal struct {
	Scale uint8
	Value int32
}

// Get returns the value of the first field called name.
func (t Table) Get(name string) (any, bool) {
	for i := range t {
		if t[i].Name == name {
			return t[i].Value, true
		}
	}
	return nil, false
}
