// Package history writes down what clients of a broker saw, and judges it. Checks are
// functions of events alone: whether they find what they are there to find is tested with histories
// made by hand. It knows neither the broker nor a client library.
package history
