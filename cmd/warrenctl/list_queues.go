package main

var listQueues = list{
	name:  "list_queues",
	short: "List queues and how many messages they hold",
	path:  func(vhost string) string { return path("queues", vhost) },
	banner: func(o *options) {
		o.banner("Timeout: %.1f seconds ...", o.timeout)
		o.banner("Listing queues for vhost %s ...", o.vhost)
	},
	columns: []column{
		col("name"), col("durable"), col("auto_delete"), col("arguments"), col("policy"), col("operator_policy"),
		col("effective_policy_definition"), col("pid", "leader"), col("owner_pid", "owner_pid_details.name"), col("exclusive"),
		col("exclusive_consumer_tag"), col("single_active_consumer_tag"),
		col("messages_ready"), col("messages_unacknowledged"), col("messages_parked"), col("messages_delayed"), col("messages"),
		col("message_bytes_ready"), col("message_bytes_unacknowledged"), col("message_bytes_parked"), col("message_bytes_delayed"), col("message_bytes"),
		col("consumers"), col("state"), col("type"), col("leader"), col("members"), col("online"), col("vhost"),
	},
	defaults: []string{"name", "messages"},
}
