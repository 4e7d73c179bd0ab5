package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// openStream asks the nodes in turn for something whose answer is too long for memory.
func (o *options) openStream(ctx context.Context, path string) (resp *http.Response, node string, err error) {
	var failed []error
	for _, n := range o.nodes {
		r, err := o.request(ctx, n, http.MethodGet, path, nil, nil)
		if err != nil {
			return nil, n, err
		}
		resp, err := client.Do(r)
		switch {
		case ctx.Err() != nil:
			return nil, n, ctx.Err()
		case err != nil:
			failed = append(failed, fmt.Errorf("unable to connect to node %s: %w", n, plain(err)))
			continue
		case resp.StatusCode == http.StatusOK:
			return resp, n, nil
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // as much of the reason as comes
		_ = resp.Body.Close()                                   // only read from
		if resp.StatusCode != http.StatusServiceUnavailable {
			return nil, n, answerError(n, o.user, resp.StatusCode, body)
		}
		failed = append(failed, fmt.Errorf("%s: %s", n, reason(body, resp.StatusCode)))
	}
	return nil, "", &exitError{code: exitUnavailable, err: errors.Join(failed...), hint: hintRunning}
}

// each calls f for the items of a list, one after the other, as they come: a list may be longer than is good for memory.
// Numbers become json.Number.
func (o *options) each(ctx context.Context, path string, f func(item map[string]any) error) error {
	resp, node, err := o.openStream(ctx, path)
	if err != nil {
		if ctx.Err() != nil {
			return timeError(ctx, o.timeout, node)
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	d := json.NewDecoder(resp.Body)
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return &exitError{code: exitSoftware, err: fmt.Errorf("GET %s: the answer is no list (%v, %v)", path, t, err), hint: "Is this the HTTP port of a Warren node?"}
	}
	for d.More() {
		var item map[string]any
		if err := d.Decode(&item); err != nil {
			return o.cutOff(ctx, node, err)
		}
		if err := f(item); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return o.cutOff(ctx, node, err)
	}
	return nil
}

// cutOff is the error of a list that did not come to its end.
func (o *options) cutOff(ctx context.Context, node string, err error) error {
	if ctx.Err() != nil {
		return timeError(ctx, o.timeout, node)
	}
	return &exitError{code: exitUnavailable, err: fmt.Errorf("node %s ended the list before its end: %w", node, plain(err)), hint: "Its log says why. Ask again, or another node."}
}
