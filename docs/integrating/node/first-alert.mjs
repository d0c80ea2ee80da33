// Send one declaration, wait for its assessment and its alert, print both, and exit.
import { randomUUID } from 'node:crypto';
import { SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry';
import avro from 'avsc';
import { Kafka, logLevel } from 'kafkajs';

const GROUP = 'first-alert-node';
const WITHIN_S = 60;

// Decimals as text, such as '0.45': a number of JavaScript would not be exact.
class Decimal extends avro.types.LogicalType {
  constructor(schema, options) {
    super(schema, options);
    this.scale = schema.scale;
  }

  _fromValue(bytes) {
    const digits = BigInt.asIntN(8 * bytes.length, BigInt(`0x${bytes.toString('hex')}`));
    const text = String(digits < 0n ? -digits : digits).padStart(this.scale + 1, '0');
    return `${digits < 0n ? '-' : ''}${text.slice(0, -this.scale)}.${text.slice(-this.scale)}`;
  }

  _toValue(text) {
    const [whole, fraction = ''] = text.split('.');
    const digits = BigInt(whole + fraction.padEnd(this.scale, '0'));
    const bytes = Buffer.alloc(16); // more bytes than needed are read as well
    bytes.writeBigInt64BE(digits < 0n ? -1n : 0n, 0);
    bytes.writeBigInt64BE(digits, 8);
    return bytes;
  }
}

const kafka = new Kafka({
  brokers: process.env.REDLANE_KAFKA_BOOTSTRAP_SERVERS.split(','),
  logLevel: logLevel.ERROR,
});
const registry = new SchemaRegistry(
  { host: process.env.REDLANE_REGISTRY_URL },
  { [SchemaType.AVRO]: { logicalTypes: { decimal: Decimal } } },
);

// A smartphone that is declared as a book. Fields that are left out have defaults.
function declaration() {
  const now = Date.now();
  return {
    declaration_id: `NODE-${now}`,
    data_set: 'H7',
    acceptance_time: now,
    declaration_office: 'BEBRU000',
    importer: { identification: 'BE0000000002', country: 'BE' },
    seller: { identification: 'CN-SELLER-001', country: 'CN' },
    country_of_dispatch: 'CN',
    mode_of_transport: '4',
    procedure: '4000',
    goods_items: [
      {
        sequence_number: 1,
        commodity_code: '490199',
        description: 'SMARTPHONE 256 GB DUAL SIM OLED DISPLAY',
        country_of_origin: 'CN',
        net_mass: '0.45',
        supplementary_quantity: '1',
        item_amount: '149.95',
        item_currency: 'EUR',
      },
    ],
  };
}

async function send(event, eventId) {
  // Looks the schema up and registers none.
  const schemaId = await registry.getLatestSchemaId('declarations-value');
  const producer = kafka.producer({ idempotent: true });
  await producer.connect();
  await producer.send({
    topic: 'declarations',
    messages: [
      {
        key: event.declaration_id,
        value: await registry.encode(schemaId, event),
        headers: { ce_id: eventId }, // stays the same if sent again
      },
    ],
  });
  await producer.disconnect();
}

// Print the assessment that answers an event and, unless its lane is green, its alert.
async function answers(eventId) {
  const consumer = kafka.consumer({ groupId: GROUP });
  await consumer.connect();
  await consumer.subscribe({ topics: ['assessments', 'alerts'], fromBeginning: true });
  const alerts = new Map();
  let assessmentId;
  await new Promise((resolve, reject) => {
    setTimeout(reject, WITHIN_S * 1000, new Error(
      `No verdict within ${WITHIN_S} s. Does \`redlane screen\` run? See \`redlane watch\`.`,
    )).unref();
    consumer.run({
      eachMessage: async ({ topic, message }) => {
        const value = await registry.decode(message.value);
        if (topic === 'alerts') {
          alerts.set(value.assessment_id, value);
        } else if (value.declaration_event_id === eventId) {
          assessmentId = String(message.headers.ce_id);
          const risk = Math.round(value.risk * 100);
          console.log(`${value.declaration_id}: lane ${value.lane}, risk ${risk}%`);
          if (value.lane === 'green') resolve();
        }
        const alert = alerts.get(assessmentId);
        for (const item of alert?.items ?? []) {
          const codes = `declared ${item.commodity_code}, likely ${item.suggested_hs6}`;
          console.log(`Alert, goods item ${item.sequence_number}: ${codes}`);
          for (const reason of item.reasons) console.log(`  ${reason.code}: ${reason.text}`);
        }
        if (alert) resolve();
      },
    });
  });
  await consumer.disconnect(); // commits what was read
}

const id = randomUUID();
await send(declaration(), id);
await answers(id);
