package management

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// wholeChunk is how many items of a list that is asked for without pages are built at once. A longer one is sent piece by piece:
	// the node never holds all of it.
	wholeChunk = 500
	// wholeTimeout is how long such a list may take to be sent.
	wholeTimeout = 10 * time.Minute
)

// wholeList answers with all items. One that cannot be built when a part of the list is on its way breaks the connection, so that
// nobody takes the part for the whole.
func (c *call) wholeList(q *query, s *source, which []int) error {
	if len(which) <= wholeChunk {
		items, err := s.build(which)
		if err != nil {
			return err
		}
		return c.ok(q.project(items))
	}
	ctx, cancel := c.longer(wholeTimeout)
	defer cancel()
	c.r = c.r.WithContext(ctx)
	list := &listWriter{c: c}
	for from := 0; from < len(which); from += wholeChunk {
		items, err := s.build(which[from:min(from+wholeChunk, len(which))])
		if err != nil && from == 0 {
			return err
		}
		if from == 0 {
			c.jsonHeader(http.StatusOK)
		}
		if err == nil {
			err = list.add(q.project(items))
		}
		if err != nil {
			c.log.Warn("a list was not sent to its end", "path", c.r.URL.Path, "remote", c.r.RemoteAddr, "err", err)
			panic(http.ErrAbortHandler)
		}
	}
	if err := list.end(); err != nil {
		c.log.Debug("http answer not sent", "remote", c.r.RemoteAddr, "err", err)
	}
	return nil
}

// A listWriter writes a JSON array piece by piece.
type listWriter struct {
	c     *call
	began bool
}

func (l *listWriter) add(items []object) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // names of connections have a '>'
	for _, o := range items {
		separator := byte('[')
		if l.began {
			separator = ','
		}
		l.began = true
		b.WriteByte(separator)
		if err := e.Encode(o); err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
		b.Truncate(b.Len() - 1) // the newline
	}
	l.c.pace(b.Len())
	_, err := l.c.w.Write(b.Bytes())
	return err
}

func (l *listWriter) end() error {
	text := "]\n"
	if !l.began { // all have gone meanwhile
		text = "[]\n"
	}
	_, err := l.c.w.Write([]byte(text))
	return err
}
