/**
 * Doors: what takes reports from agents over HTTP.
 *
 * @module @bifrost/sdk/server
 */
export { createReportHandler, type ReportHandlerOptions } from './report-handler.ts';
