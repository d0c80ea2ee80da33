import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import java.io.InputStream;
import java.math.BigDecimal;
import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.Conversions.DecimalConversion;
import org.apache.avro.LogicalTypes.Decimal;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Send one declaration, wait for its assessment and its alert, print both, and exit. */
public final class FirstAlert {
    static final String KAFKA = System.getenv("REDLANE_KAFKA_BOOTSTRAP_SERVERS");
    static final String REGISTRY = System.getenv("REDLANE_REGISTRY_URL");
    static final String GROUP = "first-alert-java";
    static final Duration WITHIN = Duration.ofSeconds(60);

    /** Settings of Apicurio's serializer and deserializer; its own interface has another path. */
    static final Map<String, Object> SERDE = Map.of(
        "bootstrap.servers", KAFKA,
        "apicurio.registry.url", REGISTRY.replace("/apis/ccompat/v7", "/apis/registry/v3"),
        "apicurio.registry.auto-register", false,
        "apicurio.registry.find-latest", true,
        "apicurio.registry.artifact-resolver-strategy",
        "io.apicurio.registry.serde.strategy.TopicIdStrategy");

    public static void main(String[] arguments) throws Exception {
        String eventId = UUID.randomUUID().toString();
        send(declaration(latestSchema("declarations-value")), eventId);
        System.exit(answers(eventId) ? 0 : 1);
    }

    static Schema latestSchema(String subject) throws Exception {
        URI uri = URI.create(REGISTRY + "/subjects/" + subject + "/versions/latest/schema");
        try (InputStream schema = uri.toURL().openStream()) {
            return new Schema.Parser().parse(schema);
        }
    }

    /** A smartphone that is declared as a book. Fields that are left out have defaults. */
    static GenericRecord declaration(Schema schema) {
        Schema party = schema.getField("declarant").schema().getTypes().get(1);
        Schema goodsItem = schema.getField("goods_items").schema().getElementType();
        Instant now = Instant.now();
        return new GenericRecordBuilder(schema)
            .set("declaration_id", "JAVA-" + now.toEpochMilli())
            .set("data_set", "H7")
            .set("acceptance_time", now.toEpochMilli())
            .set("declaration_office", "BEBRU000")
            .set("importer", new GenericRecordBuilder(party)
                .set("identification", "BE0000000002")
                .set("country", "BE")
                .build())
            .set("seller", new GenericRecordBuilder(party)
                .set("identification", "CN-SELLER-001")
                .set("country", "CN")
                .build())
            .set("country_of_dispatch", "CN")
            .set("mode_of_transport", "4")
            .set("procedure", "4000")
            .set("goods_items", List.of(new GenericRecordBuilder(goodsItem)
                .set("sequence_number", 1)
                .set("commodity_code", "490199")
                .set("description", "SMARTPHONE 256 GB DUAL SIM OLED DISPLAY")
                .set("country_of_origin", "CN")
                .set("net_mass", decimal(goodsItem, "net_mass", "0.45"))
                .set("supplementary_quantity", decimal(goodsItem, "supplementary_quantity", "1"))
                .set("item_amount", decimal(goodsItem, "item_amount", "149.95"))
                .set("item_currency", "EUR")
                .build()))
            .build();
    }

    static Object decimal(Schema record, String field, String text) {
        Schema schema = record.getField(field).schema().getTypes().get(1);
        Decimal type = (Decimal) schema.getLogicalType();
        BigDecimal value = new BigDecimal(text).setScale(type.getScale());
        return new DecimalConversion().toBytes(value, schema, type);
    }

    /** Send a declaration and wait until Kafka has it; its ce_id stays the same if sent again. */
    static void send(GenericRecord event, String eventId) throws Exception {
        Map<String, Object> settings = new HashMap<>(SERDE);
        settings.put("key.serializer", StringSerializer.class);
        settings.put("value.serializer", AvroKafkaSerializer.class);
        String key = event.get("declaration_id").toString();
        var message = new ProducerRecord<String, GenericRecord>("declarations", key, event);
        message.headers().add("ce_id", eventId.getBytes());
        try (var producer = new KafkaProducer<String, GenericRecord>(settings)) {
            producer.send(message).get();
        }
    }

    /** Print the assessment that answers an event and, unless its lane is green, its alert. */
    static boolean answers(String eventId) {
        Map<String, Object> settings = new HashMap<>(SERDE);
        settings.put("group.id", GROUP);
        settings.put("auto.offset.reset", "earliest");
        settings.put("key.deserializer", StringDeserializer.class);
        settings.put("value.deserializer", AvroKafkaDeserializer.class);
        Map<String, GenericRecord> alerts = new HashMap<>();
        String assessmentId = null;
        Instant deadline = Instant.now().plus(WITHIN);
        try (var consumer = new KafkaConsumer<String, GenericRecord>(settings)) {
            consumer.subscribe(List.of("assessments", "alerts"));
            while (Instant.now().isBefore(deadline)) {
                for (var message : consumer.poll(Duration.ofSeconds(1))) {
                    GenericRecord value = message.value();
                    if (message.topic().equals("alerts")) {
                        alerts.put(value.get("assessment_id").toString(), value);
                    } else if (value.get("declaration_event_id").toString().equals(eventId)) {
                        assessmentId = id(message);
                        System.out.printf("%s: lane %s, risk %.0f%%%n", value.get("declaration_id"),
                            value.get("lane"), 100 * (double) value.get("risk"));
                        if (value.get("lane").toString().equals("green")) {
                            return true;
                        }
                    }
                }
                if (alerts.containsKey(assessmentId)) {
                    print(alerts.get(assessmentId));
                    return true;
                }
            }
        } // close() commits what was read
        System.err.printf("No verdict within %d s. Does `redlane screen` run? See `redlane watch`.%n",
            WITHIN.toSeconds());
        return false;
    }

    static String id(ConsumerRecord<?, ?> message) {
        return new String(message.headers().lastHeader("ce_id").value());
    }

    @SuppressWarnings("unchecked")
    static void print(GenericRecord alert) {
        for (GenericRecord item : (List<GenericRecord>) alert.get("items")) {
            System.out.printf("Alert, goods item %s: declared %s, likely %s%n",
                item.get("sequence_number"), item.get("commodity_code"), item.get("suggested_hs6"));
            for (GenericRecord reason : (List<GenericRecord>) item.get("reasons")) {
                System.out.printf("  %s: %s%n", reason.get("code"), reason.get("text"));
            }
        }
    }
}
