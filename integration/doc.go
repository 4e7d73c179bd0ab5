// Package integration tests Warren as its users meet it: real server processes,
// real clients of several languages over TCP, and real faults (SIGKILL, SIGTERM,
// SIGSTOP, lost data directories). It holds nothing but tests, the small
// client programs under tutorial/ and clients/, and proc, which runs the servers; there are no shortcuts
// into the server. Faults of all kinds, at random and for hours, are in chaos.
//
// Tests that have a cluster of their own and ask for nothing but that something comes about call t.Parallel: they run four at a time (-parallel)
// after all others, as most of their time is waiting. Those that share a cluster, measure, or
// look at what a node needs under load run alone.
//
// A comment "row: SECTION ROW" above a test, or a case of one, says which row of
// docs/compat/rows.txt it shows; "make gen" writes docs/compatibility.md of them.
//
// The tests build the programs under cmd/ once, into a temporary
// directory. Environment variables that change a run:
//
//	WARREN_BIN        a directory with ready-made warren, warrenctl and warrenperf
//	WARREN_TEST_PEER  comma-separated AMQP URLs of a running broker: the tests
//	                  of client behaviour run against it instead of Warren. With
//	                  RabbitMQ 4 behind it this proves what they expect; tests
//	                  that need to start and stop processes are skipped
//	WARREN_TEST_KEEP  set: data directories and logs are kept after success too
//	WARREN_REPORT     a file, to whose end some tests write what they measured,
//	                  in Markdown
//	WARREN_CALM, WARREN_MIXED, WARREN_BACKLOG, WARREN_MANY_QUEUES, WARREN_MANY_CONNECTIONS
//	                  larger runs of the tests that name them; deploy/bench/measure.sh
//	                  sets them
//	CI                set to true: a missing client or docker fails a test
//	                  that would otherwise be skipped
package integration
