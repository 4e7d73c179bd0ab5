// Package integration tests Warren as its users meet it: real server processes,
// real clients of several languages over TCP, and real faults (SIGKILL, SIGTERM,
// SIGSTOP, lost data directories). It holds nothing but tests and the small
// client programs under tutorial/; there are no shortcuts into the server.
//
// The tests build bin/warren and bin/warrenctl once, into a temporary
// directory. Environment variables that change a run:
//
//	WARREN_BIN        a directory with ready-made warren and warrenctl
//	WARREN_TEST_PEER  comma-separated AMQP URLs of a running broker: the tests
//	                  of client behaviour run against it instead of Warren. With
//	                  RabbitMQ 4 behind it this proves what they expect; tests
//	                  that need to start and stop processes are skipped
//	WARREN_TEST_KEEP  set: data directories and logs are kept after success too
//	CI                set to true: a missing client or docker fails a test
//	                  that would otherwise be skipped
package integration
