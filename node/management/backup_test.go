package management

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"warren/fsm/command"
)

func getBackup(t *testing.T, b *api, user, method string) (*http.Response, []byte, error) {
	t.Helper()
	s := httptest.NewServer(b.handler)
	defer s.Close()
	r, err := http.NewRequest(method, s.URL+"/api/backup", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(user, "guest")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func TestBackup(t *testing.T) {
	b := newAPI(t)
	const content = "an image"
	b.image, b.imageSize = strings.NewReader(content), int64(len(content))
	resp, body, err := getBackup(t, b, "guest", http.MethodGet)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != content || resp.ContentLength != int64(len(content)) {
		t.Errorf("got %s, %d bytes announced, %q, %v", resp.Status, resp.ContentLength, body, err)
	}
}

// TestBackupBroken: an image that cannot be read to its end is never taken for a whole one.
func TestBackupBroken(t *testing.T) {
	b := newAPI(t)
	b.image, b.imageSize = io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("broken"))), 8
	if resp, body, err := getBackup(t, b, "guest", http.MethodGet); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %s, %q, %v", resp.Status, body, err)
	}
}

func TestBackupRefused(t *testing.T) {
	b := newAPI(t)
	for what, test := range map[string]struct {
		err    error
		method string
		user   string
		status int
	}{
		"running":      {ErrBackupRunning, http.MethodGet, "guest", http.StatusConflict},
		"no leader":    {errors.New("no leader"), http.MethodGet, "guest", http.StatusServiceUnavailable},
		"head":         {nil, http.MethodHead, "guest", http.StatusMethodNotAllowed},
		"no such user": {nil, http.MethodGet, "nobody", http.StatusUnauthorized},
	} {
		b.noBackup = test.err
		if resp, body, _ := getBackup(t, b, test.user, test.method); resp.StatusCode != test.status {
			t.Errorf("%s: %s: %s", what, resp.Status, body)
		}
	}
	b.must(&command.UserPut{Name: "looker", Hash: guestHash, Algorithm: "rabbit_password_hashing_sha256", SetPassword: true, SetTags: true, Tags: []string{"monitoring"}})
	b.noBackup = nil
	if resp, body, _ := getBackup(t, b, "looker", http.MethodGet); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(string(body), "not_authorised") {
		t.Errorf("somebody who may look only: %s: %s", resp.Status, body)
	}
}
