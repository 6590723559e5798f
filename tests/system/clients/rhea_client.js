// Scenarios on rhea, an AMQP 1.0 library for Node.js with a codec of its own.
// usage: node rhea_client.js SCENARIO HOST PORT ADDRESS [COUNT]; prints one line of JSON and ends, or ends with status 1.
'use strict';
const rhea = require('rhea');

const [scenario, host, port, address, count] = process.argv.slice(2);
const total = Number(count || 1);

function fail(what) {
    console.error(what);
    process.exit(1);
}

function connect(container, more) {
    return container.connect(Object.assign({ host, port: Number(port), reconnect: false }, more));
}

function done(result, ...connections) {
    console.log(JSON.stringify(result));
    connections.forEach((connection) => connection.close());
}

// Every error ends the program: none is expected, except where a scenario says so.
function container() {
    const made = rhea.create_container();
    for (const event of ['connection_error', 'session_error', 'receiver_error', 'sender_error', 'error', 'protocol_error']) {
        made.on(event, (context) => fail(event + ' ' + (context.connection && context.connection.error || context)));
    }
    made.on('disconnected', (context) => { if (context.error) fail('disconnected ' + context.error); });
    return made;
}

const scenarios = {
    // Sends COUNT messages to itself over two connections; counts what arrives and what was accepted.
    exchange(options) {
        const ours = container(), bodies = [];
        let sent = 0, accepted = 0;
        const incoming = connect(ours, options), outgoing = connect(ours, options);
        ours.on('message', (context) => {
            bodies.push(context.message.body.number);
            check();
        });
        ours.on('accepted', () => { accepted++; check(); });
        ours.on('sendable', (context) => {
            while (context.sender.sendable() && sent < total) {
                context.sender.send({ message_id: 'id-' + sent, subject: 'number', body: { number: sent++, text: 'tëxt ✓' } });
            }
        });
        function check() {
            if (bodies.length === total && accepted === total) {
                done({ received: bodies.length, accepted, ordered: bodies.every((n, at) => n === at) }, incoming, outgoing);
            }
        }
        incoming.open_receiver({ source: address, credit_window: 50 });
        outgoing.open_sender(address);
    },

    // The same, with a SASL layer.
    exchange_with_sasl() {
        scenarios.exchange({ username: 'anonymous' });
    },

    // Asks a service of its own COUNT times, over a dynamic reply address.
    request() {
        const ours = container(), answers = [];
        const server = connect(ours), client = connect(ours);
        const replies = server.open_sender({});
        server.open_receiver(address);
        let ask = null, reply_to = null;
        function next() {
            if (ask.sendable() && reply_to && answers.length < total) {
                ask.send({ body: 'question ' + answers.length, reply_to, correlation_id: answers.length });
            }
        }
        server.on('message', (context) => {
            replies.send({ to: context.message.reply_to, correlation_id: context.message.correlation_id,
                body: context.message.body.toUpperCase() });
        });
        const receiver = client.open_receiver({ source: { dynamic: true } });
        receiver.on('receiver_open', (context) => {
            reply_to = context.receiver.source.address;
            ask = client.open_sender(address);
            ask.once('sendable', next);
        });
        receiver.on('message', (context) => {
            answers.push(context.message.body);
            if (answers.length === total) done({ answers, reply_to }, server, client);
            else next();
        });
    },

    // One message for each outcome; tells what the sender hears of it.
    outcomes() {
        const ours = container(), heard = {};
        const connection = connect(ours);
        const names = ['accepted', 'released', 'rejected', 'modified'];
        ours.on('message', (context) => {
            const { delivery, message } = context;
            if (message.body === 'accepted') delivery.accept();
            else if (message.body === 'released') delivery.release();
            else if (message.body === 'rejected') delivery.reject({ condition: 'app:bad', description: 'a bad one' });
            else delivery.modified({ delivery_failed: true, undeliverable_here: true, message_annotations: { 'x-opt-a': 5 } });
        });
        const sender = connection.open_sender(address);
        connection.open_receiver({ source: address, autoaccept: false });
        // One at a time: of two deliveries settled at once the library merges the outcomes, whatever they are.
        const next = () => sender.send({ body: names[Object.keys(heard).length] });
        sender.once('sendable', next);
        for (const event of names) {
            sender.on(event, (context) => {
                const state = context.delivery.remote_state;
                heard[names[Object.keys(heard).length]] = {
                    // The event `released` stands for modified too; only that has fields.
                    outcome: event === 'released' && state.delivery_failed ? 'modified' : event,
                    condition: state.error ? state.error.condition : null,
                    description: state.error ? state.error.description : null,
                    undeliverable: state.undeliverable_here === true,
                    annotations: state.message_annotations || null,
                };
                if (Object.keys(heard).length === names.length) done(heard, connection);
                else next();
            });
        }
    },

    // COUNT presettled messages.
    presettled() {
        const ours = container();
        const connection = connect(ours);
        let received = 0, settled = 0, sent = 0;
        ours.on('message', (context) => {
            received++;
            if (context.delivery.remote_settled) settled++;
            if (received === total) done({ received, settled }, connection);
        });
        connection.open_receiver({ source: address, credit_window: 20 });
        connection.open_sender({ target: address, snd_settle_mode: 1 });
        ours.on('sendable', (context) => {
            while (context.sender.sendable() && sent < total) { sent++; context.sender.send({ body: 'x' }); }
        });
    },

    // A body of COUNT octets.
    large() {
        const ours = container();
        const connection = connect(ours);
        const body = Buffer.alloc(total, 'abcdefg');
        ours.on('message', (context) => {
            const got = context.message.body.content || context.message.body;
            done({ size: got.length, same: Buffer.compare(got, body) === 0 }, connection);
        });
        connection.open_receiver(address);
        connection.open_sender(address).once('sendable', (context) => {
            context.sender.send({ body: rhea.message.data_section(body) });
        });
    },

    // Drains a receiver on which there are 3 messages and credit for COUNT.
    drain() {
        const ours = container();
        const connection = connect(ours);
        let received = 0, accepted = 0;
        const sender = connection.open_sender(address);
        const receiver = connection.open_receiver({ source: address, credit_window: 0 });
        receiver.on('receiver_drained', () => done({ received, credit: receiver.credit }, connection));
        receiver.on('message', () => { received++; });
        sender.once('sendable', () => {
            for (let n = 0; n < 3; n++) sender.send({ body: n });
            receiver.add_credit(3);
        });
        sender.on('accepted', () => {
            if (++accepted === 3) {
                receiver.drain_credit();
                receiver.add_credit(total);
            }
        });
    },
};

setTimeout(() => fail('nothing for 60 s'), 60000).unref();
if (!scenarios[scenario]) fail('no scenario ' + scenario);
scenarios[scenario]();
