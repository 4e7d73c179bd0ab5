package management

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"

	"warren/fsm"
	"warren/fsm/access"
	"warren/fsm/command"
)

// Access says who may log in and what users may do.
type Access interface {
	// Login returns nil when the user may log in with the password from remote, and
	// ErrBusy when that cannot be found out now.
	Login(ctx context.Context, user, password string, remote net.Addr) error
	// Authenticate returns nil when the password is the user's; or ErrBusy.
	Authenticate(ctx context.Context, user, password string) error
	// Tags returns the tags of a user.
	Tags(user string) []string
	// Rules returns what a user may do in a vhost.
	Rules(user, vhost string) Rules
	// Hash hashes a password for storage. Its one error is ErrBusy.
	Hash(ctx context.Context, password string) (hash, algorithm string, err error)
	// RabbitHash hashes a password in the form that RabbitMQ imports.
	RabbitHash(password string) string
	// CheckHash returns an error when no password can fit a hash.
	CheckHash(hash, algorithm string) error
	// CheckPattern returns an error when a text is no regular expression.
	CheckPattern(text string) error
}

// ErrBusy means that too many passwords are being checked.
var ErrBusy = errors.New("too many passwords wait to be checked")

// Rules are what a user may do in a vhost.
type Rules interface {
	Enter() bool                // the user may use the vhost at all
	Impersonates() bool         // the user may publish in the name of others
	Allows(n *access.Need) bool // the user has what is needed
}

// The tags that say what a user may see and do here
// (https://www.rabbitmq.com/docs/management#permissions). Each lets the user in.
const (
	tagAdministrator = "administrator"
	tagMonitoring    = "monitoring"
	tagPolicymaker   = "policymaker"
	tagManagement    = "management"
)

func (c *call) tagged(tags ...string) bool {
	return slices.ContainsFunc(tags, func(t string) bool { return slices.Contains(c.tags, t) })
}

func (c *call) isAdmin() bool       { return c.tagged(tagAdministrator) }
func (c *call) isMonitor() bool     { return c.tagged(tagAdministrator, tagMonitoring) }
func (c *call) isPolicymaker() bool { return c.tagged(tagAdministrator, tagPolicymaker) }

// notAuthorised refuses somebody who is logged in. It is 401 in RabbitMQ too, and spelled
// differently from the refusal of a login.
func notAuthorised(reason string) error {
	return &failure{http.StatusUnauthorized, "not_authorised", reason}
}

// The refusals of rabbit_web_dispatch_access_control.
var (
	errNotManagement = notAuthorised("Not management user")
	errNotAdmin      = notAuthorised("Not administrator user")
	errNotMonitor    = notAuthorised("Not monitor user")
	errNotObject     = notAuthorised("User not authorised to access object")
	errNotVHost      = notAuthorised("User not authorised to access virtual host")
)

// notYet refuses what a node cannot do that is not up to date.
func (c *call) notYet() error {
	reason := "the node is starting and does not know the present state of the cluster"
	if waiting := c.cluster().Waiting; waiting != "" {
		reason += ": " + waiting
	}
	return errUnavailable(reason)
}

// onlyLook takes from a user what goes beyond looking on. While the node is not up to
// date its users may be deleted, have other passwords or fewer tags, or it knows none
// but the --default-user: whoever waits for it may see why, and no more.
func (c *call) onlyLook() {
	if c.isMonitor() {
		c.tags = []string{tagMonitoring}
	} else {
		c.tags = []string{tagManagement}
	}
}

// A bar is who may use a resource, besides administrators. Whoever gets here has one of the tags.
type bar func(c *call) error

func anybody(*call) error { return nil }

func admins(c *call) error { return when(c.isAdmin(), errNotAdmin) }

func monitors(c *call) error { return when(c.isMonitor(), errNotMonitor) }

// inVHost lets in who may use the vhost of the path, if there is one in it.
func inVHost(c *call) error { return when(c.isAdmin() || c.mayEnter(), errNotVHost) }

// seesVHost lets in who may use the vhost of the path or see all.
func seesVHost(c *call) error { return when(c.isMonitor() || c.mayEnter(), errNotVHost) }

// policymakers have to be let into the vhost of the path too.
func policymakers(c *call) error {
	return when(c.isAdmin() || c.isPolicymaker() && c.mayEnter(), errNotObject)
}

// seesShovels lets in whom RabbitMQ does, and who may set shovels.
func seesShovels(c *call) error { return when(c.isMonitor() || policymakers(c) == nil, errNotMonitor) }

func when(allowed bool, otherwise error) error {
	if allowed {
		return nil
	}
	return otherwise
}

// A gate is who may read and who may change what stands below a path. The longest pattern
// counts; what has none is anybody's, or, with a vhost in its path, that of its users.
type gate struct {
	pattern     []string
	read, write bar
}

func gateAt(read, write bar, pattern ...string) gate { return gate{pattern, read, write} }

var gates = []gate{
	gateAt(admins, admins, "users"),
	gateAt(admins, admins, "permissions"),
	gateAt(admins, admins, "topic-permissions"),
	gateAt(admins, admins, "auth"),
	gateAt(anybody, anybody, "auth", "hash_password"),
	gateAt(monitors, admins, "auth", "attempts"),
	gateAt(admins, admins, "config"),
	gateAt(admins, admins, "feature-flags"),
	gateAt(admins, admins, "deprecated-features"),
	gateAt(admins, admins, "rebalance"),
	gateAt(inVHost, admins, "queues", "quorum"),
	gateAt(admins, admins, "queues", "{vhost}", "{queue}", "actions"),
	gateAt(admins, admins, "reset"),
	gateAt(admins, admins, "definitions"),
	gateAt(admins, admins, "all-configuration"),
	gateAt(admins, admins, "backup"),
	gateAt(anybody, admins, "cluster-name"),
	gateAt(monitors, admins, "cluster"),
	gateAt(admins, admins, "cluster", "state"), // as it costs a look at every message
	gateAt(monitors, admins, "nodes"),
	gateAt(seesVHost, admins, "vhosts"),
	gateAt(admins, admins, "vhosts", "{vhost}", "permissions"),
	gateAt(admins, admins, "vhosts", "{vhost}", "topic-permissions"),
	gateAt(seesVHost, admins, "vhost-limits"),
	gateAt(admins, admins, "user-limits"),
	gateAt(anybody, admins, "connections", "username"),
	gateAt(policymakers, policymakers, "policies"),
	gateAt(policymakers, admins, "operator-policies"),
	gateAt(monitors, admins, "trace"),        // events tell of all users' connections
	gateAt(inVHost, policymakers, "delayed"), // whoever cancels need not be who published
	gateAt(policymakers, policymakers, "parameters"),
	gateAt(seesShovels, policymakers, "shovels"),
	gateAt(policymakers, policymakers, "shovels", "vhost"), // the URIs of parameters have passwords
	gateAt(policymakers, policymakers, "global-parameters"),
}

// authorise checks that the user may use the resource with this method.
func (c *call) authorise(rt *route) error {
	at := gate{read: inVHost, write: inVHost}
	for _, g := range gates {
		if len(g.pattern) > len(at.pattern) && len(rt.pattern) >= len(g.pattern) && slices.Equal(g.pattern, rt.pattern[:len(g.pattern)]) {
			at = g
		}
	}
	if rt.method == http.MethodGet {
		return at.read(c)
	}
	return at.write(c)
}

// mayEnter reports whether the user may use the vhost of the path. One that does not
// exist is not found rather than refused.
func (c *call) mayEnter() bool {
	vhost, ok := c.params["vhost"]
	return !ok || c.needVHost(vhost) != nil || c.cfg.Access.Rules(c.user, vhost).Enter()
}

// visible are the vhosts that the user may see.
func (c *call) visible() []string {
	var all []string
	c.view(func(m *fsm.Machine) { all = m.VHosts() })
	if c.isMonitor() {
		return all
	}
	return slices.DeleteFunc(all, func(v string) bool { return !c.cfg.Access.Rules(c.user, v).Enter() })
}

// owns reports whether the user may see a connection or channel of a user, and with
// closing whether it may be closed.
func (c *call) owns(user string, closing bool) bool {
	if user == c.user {
		return true
	}
	if closing {
		return c.isAdmin()
	}
	return c.isMonitor()
}

// permit checks that the user may do in the vhost of the path what a command does, as if
// it came over AMQP.
func (c *call) permit(cmd command.Command) error {
	needs := access.Needs(nil, cmd)
	if len(needs) == 0 {
		return nil
	}
	vhost := c.params["vhost"]
	rules := c.cfg.Access.Rules(c.user, vhost)
	for i := range needs {
		if !rules.Allows(&needs[i]) {
			return refused(needs[i].Refusal(c.user, vhost))
		}
	}
	return nil
}
