export { createReportHandler, type ReportHandlerOptions } from './report-handler.ts';
