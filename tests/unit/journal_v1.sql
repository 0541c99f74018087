BEGIN TRANSACTION;
CREATE TABLE facts (
	seq INTEGER NOT NULL, 
	time VARCHAR NOT NULL, 
	agent VARCHAR, 
	kind VARCHAR NOT NULL, 
	data TEXT NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "facts" VALUES(1,'2026-11-23T01:56:54.381994+00:00',NULL,'service.state','{"state":"started","session":"11111111-1111-4111-8111-111111111111"}');
INSERT INTO "facts" VALUES(2,'2026-11-23T01:56:54.404765+00:00','walker','agent.state','{"state":"created","reason":null,"spec":{"name":"walker","type":"brainbox:Walker","config":{},"actuators":["x","y"],"sensors":["signal"],"outcome":"signal","evaluate":null,"plan":"acquire","executor":"auto","listen":"own","warm_start":[],"timeouts":{"suggest":600.0,"ingest":600.0,"report":600.0,"evaluate":600.0},"recover":"resume","loop":{"n_points":1,"max_runs":3,"max_failures":3,"approval":"auto","report_every":null},"guardrails":{"bounds":{}}}}');
INSERT INTO "facts" VALUES(3,'2026-11-23T01:56:54.422010+00:00','gone','agent.state','{"state":"created","reason":null,"spec":{"name":"gone","type":"brainbox:Walker","config":{},"actuators":["x","y"],"sensors":["signal"],"outcome":"signal","evaluate":null,"plan":"acquire","executor":"auto","listen":"own","warm_start":[],"timeouts":{"suggest":600.0,"ingest":600.0,"report":600.0,"evaluate":600.0},"recover":"resume","loop":{"n_points":1,"max_runs":null,"max_failures":3,"approval":"auto","report_every":null},"guardrails":{"bounds":{}}}}');
INSERT INTO "facts" VALUES(4,'2026-11-23T01:56:54.422783+00:00','gone','agent.state','{"state":"created","reason":null,"removed":true}');
INSERT INTO "facts" VALUES(5,'2026-11-23T01:56:54.434160+00:00','walker','agent.state','{"state":"starting","reason":null}');
INSERT INTO "facts" VALUES(6,'2026-11-23T01:56:54.435163+00:00','walker','agent.state','{"state":"paused","reason":"started paused; resume it to go on","held":false}');
INSERT INTO "facts" VALUES(7,'2026-11-23T01:56:54.436360+00:00','walker','suggestion.state','{"id":"31dc4050-416d-4950-8182-8e1398c8c817","point":{"x":0.0,"y":0.0},"brain_id":0,"state":"proposed","plan":"acquire","by":"person"}');
INSERT INTO "facts" VALUES(8,'2026-11-23T01:56:54.436385+00:00','walker','suggestion.state','{"id":"02d48e96-32cf-4af2-aa2b-c7fef8389b9e","point":{"x":1.0,"y":0.0},"brain_id":1,"state":"proposed","plan":"acquire","by":"person"}');
INSERT INTO "facts" VALUES(9,'2026-11-23T01:56:54.442570+00:00','walker','suggestion.state','{"id":"31dc4050-416d-4950-8182-8e1398c8c817","state":"approved"}');
INSERT INTO "facts" VALUES(10,'2026-11-23T01:56:54.443880+00:00','walker','suggestion.state','{"id":"31dc4050-416d-4950-8182-8e1398c8c817","state":"submitted"}');
INSERT INTO "facts" VALUES(11,'2026-11-23T01:56:54.444073+00:00','walker','suggestion.state','{"id":"31dc4050-416d-4950-8182-8e1398c8c817","state":"running","run_uid":"22222222-2222-4222-8222-222222222222"}');
INSERT INTO "facts" VALUES(12,'2026-11-23T01:56:54.444243+00:00','walker','suggestion.state','{"id":"31dc4050-416d-4950-8182-8e1398c8c817","state":"measured","outcome":{"signal":0.5}}');
INSERT INTO "facts" VALUES(13,'2026-11-23T01:56:54.444648+00:00','walker','ingest','{"points":[{"x":0.0,"y":0.0,"signal":0.5,"_id":"31dc4050-416d-4950-8182-8e1398c8c817"}],"run_uids":["22222222-2222-4222-8222-222222222222"],"best":[{"id":"31dc4050-416d-4950-8182-8e1398c8c817","point":{"x":0.0,"y":0.0},"outcome":{"signal":0.5}}]}');
INSERT INTO "facts" VALUES(14,'2026-11-23T01:56:54.444665+00:00','walker','suggestion.state','{"id":"31dc4050-416d-4950-8182-8e1398c8c817","state":"ingested"}');
INSERT INTO "facts" VALUES(15,'2026-11-23T01:56:54.456951+00:00','walker','config','{"variable":"gain","value":2.5}');
INSERT INTO "facts" VALUES(16,'2026-11-23T01:56:54.457435+00:00','walker','report','{"report":{"n":1,"ids":[0],"failed":0}}');
INSERT INTO "facts" VALUES(17,'2026-11-23T01:56:54.457887+00:00','walker','ingest','{"points":[{"x":7.0,"y":1.0,"signal":-3.0}],"run_uids":[],"best":[{"id":"31dc4050-416d-4950-8182-8e1398c8c817","point":{"x":0.0,"y":0.0},"outcome":{"signal":0.5}}]}');
INSERT INTO "facts" VALUES(18,'2026-11-23T01:56:54.458210+00:00',NULL,'queue.state','{"command":"abort","state":"held","reason":"the shutter is stuck"}');
CREATE TABLE meta (
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema_version','1');
CREATE INDEX facts_by_agent ON facts (agent, seq);
COMMIT;
