// Package clients are clients of a cluster that write down what they send and see, for package history to judge: publishers,
// consumers, transactions, topology that is used through another node, registers. They know neither how the cluster is run nor
// what is done to it: that is the business of a harness (package chaos with real processes, TestSim in package node
// in a bubble), which says in a Config how to reach the nodes and how much there is to do.
package clients
