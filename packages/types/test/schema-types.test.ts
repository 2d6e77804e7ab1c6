import { expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import type {
  AttachSidecarInput,
  AttachSidecarRequest,
  AttachSidecarResponse,
  attachSidecarRequestSchema,
  attachSidecarResponseSchema,
  ConnectionMetric,
  ConnectivityEvent,
  CreateTailnetInput,
  CreateTailnetRequest,
  CreateTailnetResponse,
  connectionMetricSchema,
  connectivityEventSchema,
  createTailnetRequestSchema,
  createTailnetResponseSchema,
  ExplainRequest,
  explainRequestSchema,
  FirewallReport,
  firewallReportSchema,
  MonitorConnectivityRequest,
  monitorConnectivityRequestSchema,
  NetworkConfiguration,
  NetworkStatus,
  networkConfigurationSchema,
  networkStatusSchema,
  QuarantineSidecarRequest,
  quarantineSidecarRequestSchema,
  ReportAnswerV1,
  ReportV1,
  reportAnswerV1Schema,
  reportV1Schema,
  SidecarConfiguration,
  sidecarConfigurationSchema,
  UpdateSidecarRequest,
  UpdateTailnetRequest,
  UpgradeSidecarsRequest,
  updateSidecarRequestSchema,
  updateTailnetRequestSchema,
  upgradeSidecarsRequestSchema,
} from '../src/index.ts';

type Output<Schema extends z.ZodType> = z.output<Schema>;
/** Everything read-only: the report's schema leaves its result unfrozen, for speed; its interface is read-only all the same. */
type ReadonlyDeep<T> = T extends object ? { readonly [K in keyof T]: ReadonlyDeep<T[K]> } : T;

it('the output of each schema is exactly the interface of core', () => {
  expectTypeOf<Output<typeof networkConfigurationSchema>>().toEqualTypeOf<NetworkConfiguration>();
  expectTypeOf<Output<typeof sidecarConfigurationSchema>>().toEqualTypeOf<SidecarConfiguration>();
  expectTypeOf<Output<typeof createTailnetRequestSchema>>().toEqualTypeOf<CreateTailnetRequest>();
  expectTypeOf<Output<typeof createTailnetResponseSchema>>().toEqualTypeOf<CreateTailnetResponse>();
  expectTypeOf<Output<typeof attachSidecarRequestSchema>>().toEqualTypeOf<AttachSidecarRequest>();
  expectTypeOf<Output<typeof attachSidecarResponseSchema>>().toEqualTypeOf<AttachSidecarResponse>();
  expectTypeOf<Output<typeof networkStatusSchema>>().toEqualTypeOf<NetworkStatus>();
  expectTypeOf<Output<typeof connectionMetricSchema>>().toEqualTypeOf<ConnectionMetric>();
  expectTypeOf<Output<typeof connectivityEventSchema>>().toEqualTypeOf<ConnectivityEvent>();
  expectTypeOf<Output<typeof explainRequestSchema>>().toEqualTypeOf<ExplainRequest>();
  expectTypeOf<Output<typeof firewallReportSchema>>().toEqualTypeOf<FirewallReport>();
  expectTypeOf<Output<typeof monitorConnectivityRequestSchema>>().toEqualTypeOf<MonitorConnectivityRequest>();
  expectTypeOf<Output<typeof updateTailnetRequestSchema>>().toEqualTypeOf<UpdateTailnetRequest>();
  expectTypeOf<Output<typeof updateSidecarRequestSchema>>().toEqualTypeOf<UpdateSidecarRequest>();
  expectTypeOf<Output<typeof quarantineSidecarRequestSchema>>().toEqualTypeOf<QuarantineSidecarRequest>();
  expectTypeOf<Output<typeof upgradeSidecarsRequestSchema>>().toEqualTypeOf<UpgradeSidecarsRequest>();
  expectTypeOf<ReadonlyDeep<Output<typeof reportV1Schema>>>().toEqualTypeOf<ReadonlyDeep<ReportV1>>();
  expectTypeOf<ReadonlyDeep<Output<typeof reportAnswerV1Schema>>>().toEqualTypeOf<ReadonlyDeep<ReportAnswerV1>>();
});

it('a caller may leave out what has a default, and pass read-only lists', () => {
  expectTypeOf<{
    readonly customerId: string;
    readonly tailnetName: string;
    readonly config: { readonly allowedNetworks: readonly string[] };
  }>().toExtend<CreateTailnetInput>();
  expectTypeOf<CreateTailnetRequest>().toExtend<CreateTailnetInput>();
  expectTypeOf<AttachSidecarRequest>().toExtend<AttachSidecarInput>();
  expectTypeOf<{ readonly customerId: string; readonly tailnetName: string }>().not.toExtend<CreateTailnetInput>();
});
