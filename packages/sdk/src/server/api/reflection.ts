import { Health, NetworkManager, ServerReflection, type ServerReflectionRequest } from '@bifrost/types/proto';
import { type DescFile, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, type ConnectRouter } from '@connectrpc/connect';
import type { AnonymousStreams } from './anonymous-streams.ts';

const SERVICES = [NetworkManager, Health, ServerReflection] as const;

function filesOf(roots: readonly DescFile[]): ReadonlyMap<string, DescFile> {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile): void => {
    if (files.has(file.proto.name)) return;
    files.set(file.proto.name, file);
    file.dependencies.forEach(add);
  };
  roots.forEach(add);
  return files;
}

/** Names of everything that a file declares, and the names of methods and fields below them. */
function symbolsOf({ messages, enums, services }: DescFile): readonly string[] {
  const nested = messages.flatMap((message) => [message, ...message.nestedMessages, ...message.nestedEnums]);
  const methods = services.flatMap((service) => service.methods.map(({ name }) => `${service.typeName}.${name}`));
  return [...[...nested, ...enums, ...services].map(({ typeName }) => typeName), ...methods];
}

/** gRPC server reflection: with it grpcurl needs no proto files. It shows the form of the calls and nothing else. */
export function registerReflection(router: ConnectRouter, streams: AnonymousStreams): void {
  const files = filesOf(SERVICES.map(({ file }) => file));
  const bySymbol = new Map([...files.values()].flatMap((file) => symbolsOf(file).map((name) => [name, file] as const)));

  const found = (file: DescFile | undefined) => {
    if (file === undefined) return { case: 'errorResponse', value: { errorCode: Code.NotFound, errorMessage: 'not known here' } } as const;
    const closure = [...filesOf([file]).values()];
    return {
      case: 'fileDescriptorResponse',
      value: { fileDescriptorProto: closure.map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto)) },
    } as const;
  };

  const answer = ({ messageRequest }: ServerReflectionRequest) => {
    if (messageRequest.case === 'listServices') {
      return { case: 'listServicesResponse', value: { service: SERVICES.map(({ typeName }) => ({ name: typeName })) } } as const;
    }
    if (messageRequest.case === 'fileByFilename') return found(files.get(messageRequest.value));
    if (messageRequest.case === 'fileContainingSymbol') return found(bySymbol.get(messageRequest.value));
    return { case: 'errorResponse', value: { errorCode: Code.Unimplemented, errorMessage: 'not answered here' } } as const;
  };

  router.service(ServerReflection, {
    async *serverReflectionInfo(requests, context) {
      using _place = streams.enter(context);
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request) };
      }
    },
  });
}
