// Package protocol speaks AMQP 0-9-1 as RabbitMQ does: frames, methods, content
// headers, reply codes, the protocol header and the responses of SASL mechanisms.
// It knows no broker and keeps no state of channels: a session puts that on top.
//
// Reading: a Reader yields frames; ParseMethod and ParseContentHeader make sense
// of their payloads; the hot methods have their own functions without
// allocations (PublishView, AckView). Errors are *Error and say with code and
// text who dies, the channel or the connection.
//
// Writing: the Append functions put frames behind a byte slice; a Writer gathers
// frames and hands large bodies to the socket uncopied.
//
// The methods are generated from the specification's XML by protocol/gen.
package protocol

//go:generate go run ./gen -o methods_gen.go
