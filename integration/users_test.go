package integration

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/proc"
)

// api sends a request to a node's HTTP API as a user and returns the status and body.
func (n *node) api(t testing.TB, user, password, method, path string, body any) (int, string) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, "http://"+n.http+path, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	resp, err := proc.HTTP.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// operate is api as guest, which must succeed.
func (n *node) operate(t testing.TB, method, path string, body any) {
	t.Helper()
	if status, answer := n.api(t, "guest", "guest", method, path, body); status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
}

type fields map[string]any

func (n *node) addUser(t testing.TB, name, password, tags string) {
	t.Helper()
	n.operate(t, "PUT", "/api/users/"+name, fields{"password": password, "tags": tags})
}

func (n *node) permit(t testing.TB, name, configure, write, read string) {
	t.Helper()
	n.operate(t, "PUT", "/api/permissions/%2F/"+name, fields{"configure": configure, "write": write, "read": read})
}

// dialAs connects to a node as a user. The connection ends with the test.
func dialAs(t testing.TB, n *node, user, password string) (*amqp.Connection, error) {
	t.Helper()
	conn, err := amqp.DialConfig("amqp://"+n.amqp, amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}, Dial: amqp.DefaultDial(patience),
	})
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, err
}

// logsIn waits until a user can log in to a node: it hears of a change a little after
// the node that was asked for it.
func logsIn(t testing.TB, n *node, user, password string) *amqp.Connection {
	t.Helper()
	var conn *amqp.Connection
	eventually(t, user+" logs in to "+n.name, func() (err error) {
		conn, err = dialAs(t, n, user, password)
		return err
	})
	return conn
}

// TestUsers adds a user on one node and uses it on all, takes permissions away while it is
// connected, and deletes it; on one node and on three.
//
// row: 1.7 permissions; 1.1 connection.open
func TestUsers(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", size), func(t *testing.T) {
			c := startCluster(t, size)
			first := c.node(0)
			first.addUser(t, "ann", "pässword", "")
			for _, n := range c.nodes {
				eventually(t, "the user is known on "+n.name, func() error {
					_, err := dialAs(t, n, "ann", "pässword")
					var refused *amqp.Error
					if !errors.As(err, &refused) || refused.Code != 530 {
						return fmt.Errorf("got %v", err)
					}
					refusal(t, err, 530, "NOT_ALLOWED - access to vhost '/' refused for user 'ann'")
					return nil
				})
				_, err := dialAs(t, n, "ann", "password")
				refusal(t, err, 403, "username or password not allowed")
			}
			first.permit(t, "ann", "^ann", "^ann|amq.default", "^ann")
			var connections []*amqp.Connection
			for i, n := range c.nodes {
				conn := logsIn(t, n, "ann", "pässword")
				connections = append(connections, conn)
				ch := channel(t, conn)
				queue := fmt.Sprintf("ann-%d", i)
				if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
					t.Fatal(err)
				}
				publish(t, ch, queue, "mine")
				get(t, ch, queue, "mine")
				_, err := ch.QueueDeclare("other", true, false, false, false, nil)
				refusal(t, err, 403, "ACCESS_REFUSED - configure access to queue 'other' in vhost '/' refused for user 'ann'")
				err = channel(t, conn).QueueBind(queue, "k", "amq.topic", false, nil)
				refusal(t, err, 403, "ACCESS_REFUSED - read access to exchange 'amq.topic' in vhost '/' refused for user 'ann'")
				usable(t, dial(t, n)) // nobody else suffers
			}
			// A permission that is taken away is refused to those who are connected.
			first.permit(t, "ann", "", "", "")
			for i, conn := range connections {
				eventually(t, "reads are refused on "+c.node(i).name, func() error {
					ch, err := conn.Channel()
					if err != nil {
						t.Fatal(err)
					}
					_, _, err = ch.Get(fmt.Sprintf("ann-%d", i), true)
					if err == nil {
						return errors.New("it was allowed")
					}
					refusal(t, err, 403, fmt.Sprintf("ACCESS_REFUSED - read access to queue 'ann-%d' in vhost '/' refused for user 'ann'", i))
					return nil
				})
				ch := channel(t, conn)
				if err := ch.Confirm(false); err != nil {
					t.Fatal(err)
				}
				closed := ch.NotifyClose(make(chan *amqp.Error, 1))
				publish(t, ch, "ann-0", "x")
				refusal(t, receive(t, "the refusal of a publish", closed), 403,
					"ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'ann'")
			}
			// Another password leaves them, a deleted user does not.
			first.operate(t, "PUT", "/api/users/ann", fields{"password": "new", "tags": ""})
			var ends []chan *amqp.Error
			for i, conn := range connections {
				eventually(t, "the old password is refused", func() error {
					if _, err := dialAs(t, c.node(i), "ann", "pässword"); err == nil {
						return errors.New("it is not")
					}
					return nil
				})
				channel(t, conn)
				ends = append(ends, conn.NotifyClose(make(chan *amqp.Error, 1)))
			}
			first.operate(t, "DELETE", "/api/users/ann", nil)
			for _, end := range ends {
				refusal(t, receive(t, "the end of a connection", end), 320, "CONNECTION_FORCED - user 'ann' was deleted")
			}
		})
	}
}

// TestUsersLast checks that users outlive the loss of a leader and a restart of all nodes,
// with a snapshot between, and that the settings of the first user count once only.
//
// row: 1.7 permissions; 1.7 topic permissions; 1.7 password hashes
//
// row: 1.7 permissions
func TestUsersLast(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--snapshot-bytes", "1MiB"}})
	sum := sha256.Sum256([]byte("saltimported"))
	hash := base64.StdEncoding.EncodeToString(append([]byte("salt"), sum[:]...))
	n := c.node(0)
	n.operate(t, "PUT", "/api/users/imp", fields{"password_hash": hash, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "monitoring"})
	n.permit(t, "imp", "", "^amq\\.topic$", "")
	n.operate(t, "PUT", "/api/topic-permissions/%2F/imp", fields{"exchange": "amq.topic", "write": `^{username}\.`, "read": ""})
	n.addUser(t, "gone", "x", "")
	n.operate(t, "DELETE", "/api/users/gone", nil)
	n.operate(t, "PUT", "/api/users/guest", fields{"password": "other", "tags": "administrator"})
	check := func(n *node) {
		t.Helper()
		conn := logsIn(t, n, "imp", "imported")
		ch := channel(t, conn)
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		confirmed(t, ch, "amq.topic", "imp.a", amqp.Publishing{})
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		publishTo(t, ch, "amq.topic", "ann.a", amqp.Publishing{})
		refusal(t, receive(t, "the refusal", closed), 403,
			"ACCESS_REFUSED - write access to topic 'ann.a' in exchange topic 'amq.topic' in vhost '/' refused for user 'imp'")
		if status, body := n.api(t, "imp", "imported", "GET", "/api/whoami", nil); status != 200 || !strings.Contains(body, `"monitoring"`) {
			t.Errorf("%s: %d %s", n.name, status, body)
		}
		if status, _ := n.api(t, "guest", "guest", "GET", "/api/whoami", nil); status != 401 {
			t.Errorf("%s: the first password counts again: %d", n.name, status)
		}
		if status, body := n.api(t, "guest", "other", "GET", "/api/users", nil); status != 200 || strings.Contains(body, "gone") {
			t.Errorf("%s: %d %s", n.name, status, body)
		}
	}
	for _, n := range c.nodes {
		check(n)
	}
	leader := leaderAs(t, c, "other")
	leader.kill(t)
	for _, n := range c.others(leader) {
		check(n)
	}
	leader.start(t)
	check(leader)
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	for _, n := range c.nodes {
		check(n)
	}
}

// leaderAs finds the leader with guest's password.
func leaderAs(t testing.TB, c *cluster, password string) (leader *node) {
	t.Helper()
	eventually(t, "a leader", func() error {
		_, body := c.node(0).api(t, "guest", password, "GET", "/api/cluster", nil)
		var info struct {
			Leader string `json:"leader"`
		}
		if err := json.Unmarshal([]byte(body), &info); err != nil {
			return err
		}
		if leader = c.byName(info.Leader); leader == nil {
			return fmt.Errorf("no leader: %s", body)
		}
		return nil
	})
	return leader
}

// TestUserCommands does with warrenctl what operators script with rabbitmqctl, on one node
// after the other.
func TestUserCommands(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	a, b := c.node(0), c.node(1)
	a.ctl(t, "add_user", "ann", "secret")
	a.ctl(t, "set_user_tags", "ann", "monitoring", "management")
	a.ctl(t, "set_permissions", "ann", "^ann", ".*", ".*")
	a.ctl(t, "set_topic_permissions", "ann", "amq.topic", "^a", "^b")
	usable(t, logsIn(t, b, "ann", "secret"))
	for _, n := range c.nodes {
		eventually(t, "all is known on "+n.name, func() error {
			for want, args := range map[string][]string{
				"ann\t[monitoring, management]\nguest\t[administrator]\n": {"list_users"},
				"ann\t^ann\t.*\t.*\nguest\t.*\t.*\t.*\n":                  {"list_permissions"},
				"/\t^ann\t.*\t.*\n":                                       {"list_user_permissions", "ann"},
				"ann\tamq.topic\t^a\t^b\n":                                {"list_topic_permissions"},
				"/\tamq.topic\t^a\t^b\n":                                  {"list_user_topic_permissions", "ann"},
			} {
				if got := n.ctl(t, append([]string{"--silent"}, args...)...); got != want {
					return fmt.Errorf("%q gives %q and not %q", args, got, want)
				}
			}
			return nil
		})
	}
	for _, refused := range [][]string{
		{"add_user", "ann", "again"}, {"delete_user", "nobody"}, {"change_password", "nobody", "x"},
		{"authenticate_user", "ann", "wrong"}, {"set_permissions", "ann", "(", "", ""}, {"set_permissions", "nobody", "", "", ""},
		{"set_permissions", "-p", "nowhere", "ann", "", "", ""}, {"--user", "ann", "--password", "secret", "list_users"},
	} {
		if out, err := a.tryCtl(refused...); err == nil {
			t.Errorf("%q succeeds: %s", refused, out)
		}
	}
	b.ctl(t, "authenticate_user", "ann", "secret")
	b.ctl(t, "change_password", "ann", "other")
	b.ctl(t, "authenticate_user", "ann", "other")
	logsIn(t, a, "ann", "other")
	b.ctl(t, "clear_topic_permissions", "ann")
	b.ctl(t, "clear_permissions", "ann")
	b.ctl(t, "clear_password", "ann")
	if out, err := b.tryCtl("authenticate_user", "ann", "other"); err == nil {
		t.Errorf("a password that was cleared is right: %s", out)
	}
	b.ctl(t, "delete_user", "ann")
	if got := b.ctl(t, "--silent", "list_users"); got != "guest\t[administrator]\n" {
		t.Errorf("left are %q", got)
	}
	hash := strings.TrimSpace(a.ctl(t, "--quiet", "hash_password", "imported"))
	a.ctl(t, "add_user", "--pre-hashed-password", "imp", hash)
	a.ctl(t, "authenticate_user", "imp", "imported")
}

// TestUpdateSecretLooksAnew takes from a user the right to read a queue that it consumes. Nothing happens until the
// client renews its secret; then the consumer is cancelled, and what it holds stays its own. On one node
// and on three, whose leader is killed in between.
//
// row: 1.1 update-secret
func TestUpdateSecretLooksAnew(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", size), func(t *testing.T) {
			c := startCluster(t, size)
			leader := c.leader(t)
			home := leader
			if size > 1 {
				home = c.others(leader)[0]
			}
			home.addUser(t, "ann", "secret", "")
			home.permit(t, "ann", ".*", ".*", ".*")
			conn := logsIn(t, home, "ann", "secret")
			ch := channel(t, conn)
			declareNamedDurable(t, ch, "q")
			deliveries, err := ch.Consume("q", "c", false, false, false, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			cancelled := ch.NotifyCancel(make(chan string, 1))
			if size > 1 {
				leader.kill(t)
			}
			home.permit(t, "ann", ".*", ".*", "^$")
			publish(t, ch, "q", "held")
			held := next(t, deliveries, "held")
			if err := conn.UpdateSecret("secret", "renewed"); err != nil {
				t.Fatal(err)
			}
			if tag := <-cancelled; tag != "c" {
				t.Errorf("consumer %q was cancelled", tag)
			}
			if err := held.Ack(false); err != nil {
				t.Error(err)
			}
			wantDepth(t, open(t, home), "q", 0)
			usable(t, conn)
		})
	}
}
