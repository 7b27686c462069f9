// What the npm package and the drivers export is what its declarations say. Compiled by `make lint`, never run.
import type * as declared from '@memwatch/node';
import type { DriverPlugin, Tracer as Declared } from '@memwatch/node/sql';
import exported = require('../../node_bridge/lib/index.js');
import { Tracer } from '../../node_bridge/lib/sql/tracer.js';
import betterSqlite3 = require('../../plugins/memwatch-sql-better-sqlite3/memwatch_sql_better_sqlite3/driver.js');
import mysql2 = require('../../plugins/memwatch-sql-mysql2/memwatch_sql_mysql2/driver.js');
import nodeSqlite3 = require('../../plugins/memwatch-sql-node-sqlite3/memwatch_sql_node_sqlite3/driver.js');
import pg = require('../../plugins/memwatch-sql-pg/memwatch_sql_pg/driver.js');
import postgres = require('../../plugins/memwatch-sql-postgres/memwatch_sql_postgres/driver.js');
import sequelize = require('../../plugins/memwatch-sql-sequelize/memwatch_sql_sequelize/driver.js');

export const everything: typeof declared = exported;
export const nothingElse: Record<keyof typeof exported, unknown> = {} as typeof declared;
export const tracer = (made: Tracer): Declared => made;
export const drivers: DriverPlugin[] = [betterSqlite3, mysql2, nodeSqlite3, pg, postgres, sequelize];
