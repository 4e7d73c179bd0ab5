# What applications do with Bunny, the Ruby client: each check prints "ok NAME".
# AMQP_URLS holds the addresses of the nodes: one connection publishes on the first,
# another one consumes on the second.
require 'bunny'
require 'timeout'

WAIT = 60

def connect(url)
  c = Bunny.new(url, automatically_recover: false, connection_timeout: WAIT, continuation_timeout: WAIT * 1000)
  c.start
  c
end

def check(name)
  Timeout.timeout(2 * WAIT) { yield }
  puts "ok #{name}"
rescue StandardError => e
  puts "FAILED #{name}: #{e.class}: #{e.message}", e.backtrace.first(5)
  exit 1
end

def want(what, got, expected)
  raise "#{what}: #{got.inspect}, want #{expected.inspect}" unless got == expected
end

# take waits for so many messages of a Ruby Queue.
def take(queue, count)
  Timeout.timeout(WAIT) { Array.new(count) { queue.pop } }
end

urls = ENV.fetch('AMQP_URLS').split(',')
here, there = connect(urls[0]), connect(urls[1 % urls.size])
PREFIX = "bunny-#{Process.pid}"

check 'declare' do
  ch = here.create_channel
  q = ch.queue("#{PREFIX}-declare", durable: true, arguments: { 'x-queue-type' => 'quorum' })
  want 'exists elsewhere', there.queue_exists?(q.name), true
  want 'is not there', there.queue_exists?("#{PREFIX}-none"), false
  begin
    there.create_channel.queue(q.name, durable: false)
    raise 'another declaration was taken'
  rescue Bunny::PreconditionFailed => e
    raise e.message unless e.message.include?("inequivalent arg 'durable'")
  end
  begin
    there.create_channel.queue("#{PREFIX}-none", passive: true)
    raise 'a missing queue was found'
  rescue Bunny::NotFound => e
    raise e.message unless e.message.include?("no queue '#{PREFIX}-none' in vhost '/'")
  end
  named = ch.queue('', exclusive: true)
  raise named.name unless named.name.start_with?('amq.gen-')
  begin
    there.create_channel.queue(named.name, passive: true)
    raise 'an exclusive queue of another connection was taken'
  rescue Bunny::ResourceLocked
  end
  want 'messages deleted', q.delete.message_count, 0
end

check 'confirms, consume, ack' do
  ch = here.create_channel
  ch.confirm_select
  q = ch.queue("#{PREFIX}-work", durable: true)
  100.times { |i| q.publish(i.to_s, persistent: true, message_id: i.to_s, headers: { 'n' => i }) }
  want 'all confirmed', ch.wait_for_confirms, true
  other = there.create_channel
  other.prefetch(10)
  got = Queue.new
  consumer = other.queue(q.name, durable: true).subscribe(manual_ack: true) do |info, properties, body|
    got << [body, properties.message_id, properties.headers['n'], properties.delivery_mode, info.redelivered?]
    other.ack(info.delivery_tag)
  end
  want 'messages', take(got, 100), Array.new(100) { |i| [i.to_s, i.to_s, i, 2, false] }
  consumer.cancel
  want 'left', q.message_count, 0
  want 'consumers', q.consumer_count, 0
  q.delete
end

check 'pop, nack, reject' do
  ch = here.create_channel
  q = ch.queue("#{PREFIX}-pop")
  want 'empty', q.pop, [nil, nil, nil]
  q.publish('one')
  info, = q.pop(manual_ack: true)
  ch.nack(info.delivery_tag, false, true)
  info, _, body = q.pop(manual_ack: true)
  want 'again', [body, info.redelivered?], ['one', true]
  ch.reject(info.delivery_tag, false)
  want 'dropped', q.pop, [nil, nil, nil]
  q.publish('two')
  want 'purged', ch.queue_purge(q.name).message_count, 1
  q.delete
end

check 'rpc' do
  ch = here.create_channel
  requests = ch.queue("#{PREFIX}-rpc", auto_delete: true)
  server = there.create_channel
  there_queue = server.queue(requests.name, auto_delete: true)
  there_queue.subscribe do |_, properties, body|
    server.default_exchange.publish((body.to_i * 2).to_s, routing_key: properties.reply_to, correlation_id: properties.correlation_id)
  end
  replies = Queue.new
  [ch.queue('', exclusive: true), ch.queue('amq.rabbitmq.reply-to')].each do |reply|
    reply.subscribe { |_, properties, body| replies << [properties.correlation_id, body] }
    requests.publish('21', reply_to: reply.name, correlation_id: reply.name)
    want 'answer', take(replies, 1), [[reply.name, '42']]
  end
end

check 'topic, fanout, headers' do
  ch = here.create_channel
  got = Queue.new
  listen = lambda do |exchange, options|
    q = ch.queue('', exclusive: true).bind(exchange, options)
    q.subscribe { |info, _, body| got << [options[:as] || q.name, info.routing_key, body] }
    q
  end
  topic = ch.topic("#{PREFIX}-topic", auto_delete: true)
  all = listen.call(topic, routing_key: '#').name
  some = listen.call(topic, routing_key: '*.orange.#').name
  %w[quick.orange.fox lazy.brown.dog].each { |key| topic.publish(key, routing_key: key) }
  want 'topic', take(got, 3).map(&:first).tally, { all => 2, some => 1 }
  fanout = ch.fanout("#{PREFIX}-fanout", auto_delete: true)
  2.times { listen.call(fanout, {}) }
  fanout.publish('x')
  want 'fanout', take(got, 2).map(&:last), %w[x x]
  headers = ch.headers("#{PREFIX}-headers", auto_delete: true)
  one = listen.call(headers, arguments: { 'x-match' => 'all', 'a' => 1, 'b' => 'x' }).name
  two = listen.call(headers, arguments: { 'x-match' => 'any', 'a' => 1, 'b' => 'y' }).name
  headers.publish('h', headers: { 'a' => 1, 'b' => 'x' })
  want 'headers, both', take(got, 2).map(&:first).sort, [one, two].sort
  headers.publish('h', headers: { 'a' => 1 })
  want 'headers, any', take(got, 1).map(&:first), [two]
  down = ch.fanout("#{PREFIX}-down", auto_delete: true)
  down.bind(topic, routing_key: 'e2e')
  listen.call(down, {})
  topic.publish('through', routing_key: 'e2e')
  want 'exchange to exchange', take(got, 2).map(&:last), %w[through through]
end

check 'mandatory' do
  ch = here.create_channel
  back = Queue.new
  x = ch.default_exchange
  x.on_return { |info, _, body| back << [info.reply_code, info.reply_text, body] }
  x.publish('lost', routing_key: "#{PREFIX}-nowhere", mandatory: true)
  want 'returned', take(back, 1), [[312, 'NO_ROUTE', 'lost']]
end

check 'transactions' do
  ch = here.create_channel
  q = ch.queue("#{PREFIX}-tx")
  ch.tx_select
  q.publish('kept')
  ch.tx_commit
  q.publish('dropped')
  ch.tx_rollback
  other = there.create_channel
  want 'committed', other.queue(q.name, passive: true).message_count, 1
  q.delete
end

check 'cancelled by the broker' do
  ch = here.create_channel
  gone = Queue.new
  q = ch.queue("#{PREFIX}-gone")
  q.subscribe_with(Bunny::Consumer.new(ch, q).tap { |c| c.on_cancellation { gone << true } })
  there.create_channel.queue_delete(q.name)
  want 'told', take(gone, 1), [true]
end

there.close
here.close
puts 'ok all'
