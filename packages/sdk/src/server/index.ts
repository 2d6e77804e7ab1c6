/**
 * Doors of a hosted manager: reports from agents, and the network API.
 *
 * @module @bifrost/sdk/server
 */
export { ApiServer, type ApiServerOptions } from './api/api-server.ts';
export type { Caller, Peer } from './api/caller.ts';
export { createReportHandler, type ReportHandlerOptions } from './report-handler.ts';
