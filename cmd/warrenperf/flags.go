package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"warren/cmd/warrenperf/internal/client"
	"warren/cmd/warrenperf/internal/load"
)

// settings are load.Options as they stand on a command line.
type settings struct {
	load.Options
	uris    []string
	flags   []string
	seconds float64
	warmup  float64
	fanOut  int
}

// parse completes the options.
func (s *settings) parse() error {
	for _, u := range s.uris {
		e, err := client.ParseURI(u)
		if err != nil {
			return fmt.Errorf("--uris: %w", err)
		}
		s.URIs = append(s.URIs, e)
	}
	for _, f := range s.flags {
		switch f {
		case "persistent":
			s.Persistent = true
		case "mandatory":
			s.Mandatory = true
		default:
			return fmt.Errorf("--flag %q is neither persistent nor mandatory", f)
		}
	}
	if s.seconds < 0 || s.warmup < 0 || s.seconds > 1e9 || s.warmup > 1e9 {
		return fmt.Errorf("--time and --warmup must be from 0 to 1e9 seconds")
	}
	s.Time = time.Duration(s.seconds * float64(time.Second))
	s.Warmup = time.Duration(s.warmup * float64(time.Second))
	if s.fanOut > 0 {
		s.Queues, s.Type = s.fanOut, "fanout"
		if s.Exchange == "" {
			s.Exchange = "warrenperf-fanout"
		}
	}
	return nil
}

// common adds the flags that all commands have.
func (s *settings) common(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&s.uris, "uris", []string{"amqp://localhost"}, "`URI`s of the nodes, separated by commas; connections go round-robin over them")
	f.StringSliceVar(&s.uris, "uri", []string{"amqp://localhost"}, "`URI` of a node, the same as --uris")
	f.DurationVar(&s.Shutdown, "shutdown-timeout", 10*time.Second, "`DURATION` to wait at the end for outstanding confirms and closing connections")
	f.IntSliceVar(&s.ServerPIDs, "server-pids", nil, "`PID`s of the brokers' processes, whose CPU and memory is told; without it they are found where the URIs are of this machine")
	s.Queues, s.MultiAck, s.QueuePattern = 1, 1, "warrenperf-%d"
	s.IdleTimeout = 10 * time.Second
}

// timed adds how long to measure.
func (s *settings) timed(cmd *cobra.Command, seconds float64) {
	cmd.Flags().Float64VarP(&s.seconds, "time", "z", seconds, "`SECONDS` to measure; 0 for as long as the given numbers of messages take")
}

func (s *settings) warm(cmd *cobra.Command) {
	cmd.Flags().Float64Var(&s.warmup, "warmup", 0, "`SECONDS` of load before the measurement begins")
}

// queueKind adds what kind of queue to declare.
func (s *settings) queueKind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&s.Quorum, "quorum-queue", false, "declare quorum queues, durable")
	f.StringSliceVarP(&s.flags, "flag", "f", nil, "`FLAG` of messages: persistent (queues are durable then), mandatory")
	f.BoolVarP(&s.KeepQueues, "keep-queues", "k", false, "do not delete queues and exchange at the end")
}

// topology adds the flags of queues and exchanges.
func (s *settings) topology(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&s.Queues, "queues", 1, "`N` queues; producers and consumers go round-robin over them")
	f.BoolVar(&s.Spread, "spread", false, "clients use all queues of their share in turn, not one queue each")
	f.StringVarP(&s.Queue, "queue", "u", "", "`NAME` of the queue, when it is one")
	f.StringVar(&s.QueuePattern, "queue-pattern", s.QueuePattern, "`PATTERN` of the queues' names; %d is their number from 1")
	f.BoolVar(&s.AutoDelete, "auto-delete", false, "declare queues that go with their last consumer")
	f.StringVarP(&s.Exchange, "exchange", "e", "", "`NAME` of an exchange to publish to; without it messages go to the queue by its name")
	f.StringVarP(&s.Type, "type", "t", "direct", "`TYPE` of the exchange")
	f.StringVar(&s.RoutingKey, "routing-key", "", "routing `KEY` of bindings and messages; without it the queue's name")
	f.IntVar(&s.fanOut, "fan-out", 0, "one fanout exchange with `N` queues")
	f.BoolVarP(&s.Predeclared, "predeclared", "p", false, "declare, bind and delete nothing")
	s.queueKind(cmd)
}

// messages adds the flags of producers and consumers.
func (s *settings) messages(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVarP(&s.Producers, "producers", "x", 1, "`N` producers, each on a connection of its own")
	f.IntVarP(&s.Consumers, "consumers", "y", 1, "`N` consumers, each on a connection of its own")
	f.IntVarP(&s.Size, "size", "s", 16, "`BYTES` of a message's body; from 8 on it holds the time of the publish")
	f.IntVarP(&s.Confirm, "confirm", "c", 0, "publisher confirms, with at most `N` messages outstanding; 0 for none")
	f.Float64VarP(&s.Rate, "rate", "r", 0, "`N` messages a second and producer; 0 for as fast as can be")
	f.IntVar(&s.QoS, "qos", 0, "prefetch count of each consumer, `N`; 0 for no limit")
	f.IntVar(&s.MultiAck, "multi-ack-every", 1, "acknowledge each `N` deliveries with one ack")
	f.BoolVarP(&s.AutoAck, "autoack", "a", false, "consume without acknowledgements")
	f.BoolVar(&s.Verify, "verify", false, "number the messages and tell how many were lost or came twice; exit code 1 when one was lost")
	f.DurationVar(&s.IdleTimeout, "idle-timeout", s.IdleTimeout, "`DURATION` after which awaited messages count as missing when none comes")
}

// counts adds limits by number.
func (s *settings) counts(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Uint64VarP(&s.PMessages, "pmessages", "C", 0, "publish `N` messages a producer, then stop; the run ends when they are consumed")
	f.Uint64VarP(&s.CMessages, "cmessages", "D", 0, "consume `N` messages a consumer, then stop")
}

// timeUnlessCounted drops the default time when a number of messages was given.
func (s *settings) timeUnlessCounted(cmd *cobra.Command, counting ...string) {
	counted := slices.ContainsFunc(counting, cmd.Flags().Changed)
	if counted && !cmd.Flags().Changed("time") {
		s.seconds = 0
	}
}
