// Package proc runs servers under test as processes of their own and asks them over
// HTTP what they know: what the tests of package integration and those of
// integration/chaos share. It knows nothing of what is tested.
package proc
