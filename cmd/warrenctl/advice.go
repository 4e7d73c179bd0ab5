package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// advice are commands of RabbitMQ's tools that have no counterpart, and what does their work here. Scripts that
// call one learn what to write instead.
var advice = []struct{ names, instead string }{
	{"stop_app,start_app", "a node is its process: stop it ('warrenctl stop', or what runs it) and start it again with 'warren serve'."},
	{"reset,force_reset", "stop the node, run 'warren reset --data-dir DIR' and start it with --join: it comes back as a new node. " +
		"Then 'warrenctl forget_cluster_node' removes what it was before."},
	{"join_cluster", "start a node with an empty data directory and --join HOST:7900 of any member: it joins by itself."},
	{"force_boot,force_standalone_khepri_boot", "a cluster that has lost its majority for good is restored from a backup: 'warren restore'."},
	{"update_cluster_nodes,rename_cluster_node,change_cluster_node_type", "nodes are known by an id in their data directory, and may come back with another name or address by themselves."},
	{"rotate_logs", "the log goes to the standard error: journald, the container's runtime or a tool like logrotate keeps and rotates it."},
	{"set_vm_memory_high_watermark,set_disk_free_limit", "change memory_high_watermark or disk_free_limit in the file of settings and run 'warrenctl reload': they hold after a restart too."},
	{"log_tail,log_tail_stream,log_location", "the log goes to the standard error: 'journalctl -fu warren' or 'docker logs -f' shows it."},
	{"eval,eval_file,exec,remote_shell", "there is no Erlang in this broker. 'warrenctl observer' and /api/debug/pprof look into a node."},
	{"erlang_version,erlang_cookie_hash,erlang_cookie_sources,command_line_arguments,os_env,schema_info,code_path", "there is no Erlang in this broker. " +
		"'warrenctl environment' shows the settings of a node, 'warrenctl server_version' its version."},
	{"sync_queue,cancel_sync_queue", "there are no mirrored queues: every queue is replicated by the log, and in step at any time."},
	{"node_health_check", "use check_running, check_local_alarms and the other commands that begin with check_."},
	{"maybe_stuck,runtime_thread_stats,force_gc", "Go's profiles tell what a node does: see \"Profiles of a running node\" in docs/operations.md."},
	{"list_ciphers,cipher_suites,tls_versions", "Go's TLS 1.2 and 1.3 with its own choice of cipher suites; --tls-min-version is the one setting."},
	{"certificates", "'warrenctl check_certificate_expiration' tells when they end; 'openssl s_client -connect HOST:5671' shows them."},
	{"encode,decode,encrypt_conf_value,decrypt_conf_value", "settings are not encrypted: keep secrets in files that only the server reads (--cluster-secret-file, --tls-key)."},
	{"message_size_stats", "the histogram rabbitmq_message_size_bytes of /metrics has them, for each node."},
	{"peek", "'warrenctl browse QUEUE --count 1' shows the first message, and any others, without taking it."},
	{"delete_member,shrink", "every queue is on every node: stop the node, then 'warrenctl forget_cluster_node NODE' removes it."},
	{"grow,grow_to_count", "every queue is on every node: start one more with --join."},
	{"reclaim_quorum_memory,force_checkpoint", "the log is cut by itself: see --snapshot-bytes."},
	{"consume_event_stream", "declare a queue, bind it to the exchange amq.rabbitmq.event, and consume it."},
	{"list_hashes", "new passwords are stored with argon2id; 'warrenctl hash_password' makes RabbitMQ's hash."},
	{"activate_free_disk_space_monitoring,deactivate_free_disk_space_monitoring", "free space is always watched; --disk-free-limit 0 sets no limit."},
}

// adviceCommands are hidden: they do nothing but say so.
func (o *options) adviceCommands() []*cobra.Command {
	var all []*cobra.Command
	for _, a := range advice {
		for _, name := range strings.Split(a.names, ",") {
			all = append(all, &cobra.Command{
				Use: name, Short: "Not here: " + a.instead, Hidden: true, DisableFlagParsing: true,
				RunE: func(*cobra.Command, []string) error {
					e := usageError("%s has no meaning here", name).(*exitError)
					e.hint = "Instead: " + a.instead
					return e
				},
			})
		}
	}
	return all
}
