package main

// What rabbitmqctl calls a pid is the name of a process. Here a connection and
// a channel go by their names.

var listExchanges = list{
	name:   "list_exchanges",
	short:  "List exchanges",
	path:   func(vhost string) string { return path("exchanges", vhost) },
	banner: func(o *options) { o.banner("Listing exchanges for vhost %s ...", o.vhost) },
	columns: []column{
		col("name"), col("type"), col("durable"), col("auto_delete"), col("internal"), col("arguments"), col("policy"), col("operator_policy"),
		col("effective_policy_definition"), col("vhost"),
	},
	defaults: []string{"name", "type"},
}

var listBindings = list{
	name:   "list_bindings",
	short:  "List bindings, with those that every queue has from the default exchange",
	path:   func(vhost string) string { return path("bindings", vhost) },
	banner: func(o *options) { o.banner("Listing bindings for vhost %s...", o.vhost) },
	columns: []column{
		col("source_name", "source"), {name: "source_kind", constant: "exchange"}, col("destination_name", "destination"),
		col("destination_kind", "destination_type"), col("routing_key"), col("arguments"), col("vhost"),
	},
	defaults: []string{"source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"},
}

var listConsumers = list{
	name:   "list_consumers",
	short:  "List consumers",
	path:   func(vhost string) string { return path("consumers", vhost) },
	banner: func(o *options) { o.banner("Listing consumers in vhost %s ...", o.vhost) },
	columns: []column{
		col("queue_name", "queue.name"), col("channel_pid", "channel_details.name", "channel_details.node"),
		col("consumer_tag"), col("ack_required"), col("prefetch_count"), col("active"), col("activity_status"), col("arguments"),
		col("exclusive"), col("user", "channel_details.user"), col("node", "channel_details.node"),
	},
	defaults: []string{"queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "arguments"},
}

var listConnections = list{
	name:    "list_connections",
	short:   "List client connections of all nodes",
	path:    func(string) string { return path("connections") },
	inVHost: func(vhost string) string { return path("vhosts", vhost, "connections") },
	banner:  func(o *options) { o.banner("Listing connections ...") },
	columns: []column{
		col("pid", "name"), col("name"), col("port"), col("host"), col("peer_port"), col("peer_host"), col("ssl"), col("ssl_protocol"), col("ssl_key_exchange"),
		col("ssl_cipher"), col("ssl_hash"), col("peer_cert_subject"), col("peer_cert_issuer"), col("peer_cert_validity"), col("state"),
		col("channels"), col("protocol"), col("auth_mechanism"), col("user"), col("vhost"), col("timeout"), col("frame_max"),
		col("channel_max"), col("client_properties"), col("recv_oct"), col("recv_cnt"), col("send_oct"), col("send_cnt"),
		col("send_pend"), col("connected_at"), col("node"), col("user_provided_name"),
	},
	defaults: []string{"user", "peer_host", "peer_port", "state"},
}

var listChannels = list{
	name:    "list_channels",
	short:   "List channels of all nodes",
	path:    func(string) string { return path("channels") },
	inVHost: func(vhost string) string { return path("vhosts", vhost, "channels") },
	banner:  func(o *options) { o.banner("Listing channels ...") },
	columns: []column{
		col("pid", "name"), col("connection", "connection_details.name"), col("name"), col("number"), col("user"), col("vhost"),
		col("transactional"), col("confirm"), col("consumer_count"), col("messages_unacknowledged"),
		col("messages_uncommitted"), col("acks_uncommitted"), col("messages_unconfirmed"), col("prefetch_count"),
		col("global_prefetch_count"), col("state"), col("node"),
	},
	defaults: []string{"pid", "user", "consumer_count", "messages_unacknowledged"},
}
