package management

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// bodyPatience is how long a client may take for a body, or for reading an answer, and one second more for each bodyRate bytes.
	bodyPatience = 30 * time.Second
	bodyRate     = 64 << 10
	// smallBody is how large a body may be without waiting for its turn: maxLargeBodies that are larger are held at once.
	smallBody      = 1 << 20
	maxLargeBodies = 2
	// maxValues bounds the values in a body: short ones take a hundred times of their text when they are read. Definitions need many.
	maxValues, maxDefinitionValues = 200_000, 4_000_000
)

// allowed is the time for so many bytes.
func allowed(bytes int64) time.Duration {
	return bodyPatience + time.Duration(bytes)*time.Second/bodyRate
}

// A paced body gives up on a client that sends too slowly.
type pacedBody struct {
	body  io.Reader
	conn  *http.ResponseController
	begin time.Time
	bytes int64
}

func (c *call) paced(body io.Reader) *pacedBody {
	return &pacedBody{body: body, conn: http.NewResponseController(c.w), begin: time.Now()}
}

// Read reads, and fails when the time is up. What does not know deadlines, as in tests, has none.
func (b *pacedBody) Read(p []byte) (int, error) {
	_ = b.conn.SetReadDeadline(b.begin.Add(allowed(b.bytes)))
	n, err := b.body.Read(p)
	b.bytes += int64(n)
	if err == io.EOF {
		_ = b.conn.SetReadDeadline(time.Time{}) // net/http goes on to look whether the client is there
	} // else it still reads a part of what is left, which must end as well
	return n, err
}

// decode reads the JSON body into v. An empty body leaves v as it is.
func (c *call) decode(v any) error { return c.decodeUpTo(maxValues, v) }

// decodeUpTo is decode for a body of so many values at most.
func (c *call) decodeUpTo(values int, v any) error {
	body, done, err := c.readBody()
	defer done()
	if err != nil {
		return err
	}
	if n := countValues(body); n > values {
		return &failure{http.StatusRequestEntityTooLarge, "bad_request", fmt.Sprintf("the body has %d values, and may have %d", n, values)}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return errBadRequest("the body is not the JSON that is expected here: %v", err)
	}
	return nil
}

// readBody reads the body. What it takes of memory is bounded over all requests; done is to be called when the bytes are not needed any more.
func (c *call) readBody() (body []byte, done func(), err error) {
	done = func() {}
	paced := c.paced(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	body, err = io.ReadAll(io.LimitReader(paced, smallBody))
	if err == nil && len(body) == smallBody {
		if err = c.large.enter(c.r.Context()); err != nil {
			return nil, done, errUnavailable("this node has as many large requests as it takes at once; try again")
		}
		done = c.large.leave
		var rest []byte
		rest, err = io.ReadAll(paced)
		body = append(body, rest...)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return body, done, nil
	case errors.As(err, &tooLarge):
		return nil, done, &failure{http.StatusRequestEntityTooLarge, "bad_request", fmt.Sprintf("the body is larger than %d bytes", maxBody)}
	default:
		return nil, done, errBadRequest("the body did not come: %v", err)
	}
}

// turns lets so many in at once as it has room for.
type turns chan struct{}

func (t turns) enter(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turns) leave() { <-t }

// countValues counts the values in JSON, or what looks like them in text that is not JSON.
func countValues(b []byte) int {
	n, inText := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == ',' || c == '[' || c == '{':
			n++
		}
	}
	return n
}
