/* Loads a SavedModel by TensorFlow's C API and asks it about one picture.

   session SAVED_MODEL INPUT OUTPUT PICTURE [LIBRARY OF OPERATIONS]...  */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>
#include <tensorflow/c/tf_tstring.h>

static TF_Status *status;

static void check(const char *what) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s: %s\n", what, TF_Message(status));
    exit(1);
  }
}

/* "name:2" */
static TF_Output output_of(TF_Graph *graph, const char *tensor) {
  char name[512];
  snprintf(name, sizeof name, "%s", tensor);
  char *colon = strrchr(name, ':');
  *colon = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
  if (output.oper == NULL) {
    fprintf(stderr, "no operation %s\n", name);
    exit(1);
  }
  return output;
}

static void free_string(void *data, size_t length, void *arg) {
  TF_TString_Dealloc(data);
  free(data);
}

static TF_Tensor *read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  char *bytes = malloc(size);
  if (fread(bytes, 1, size, file) != (size_t)size) exit(1);
  fclose(file);
  TF_TString *string = malloc(sizeof *string);
  TF_TString_Init(string);
  TF_TString_Copy(string, bytes, size);
  free(bytes);
  int64_t shape[] = {1};
  return TF_NewTensor(TF_STRING, shape, 1, string, sizeof *string, free_string, NULL);
}

int main(int count, char **arguments) {
  status = TF_NewStatus();
  for (int n = 5; n < count; n++) {
    TF_LoadLibrary(arguments[n], status);
    check(arguments[n]);
  }
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, arguments[1], tags, 1, graph,
                                                     NULL, status);
  check("load");
  TF_Output input = output_of(graph, arguments[2]), output = output_of(graph, arguments[3]);
  TF_Tensor *picture = read_file(arguments[4]), *caption = NULL;
  TF_SessionRun(session, NULL, &input, &picture, 1, &output, &caption, 1, NULL, 0, NULL, status);
  check("run");
  const TF_TString *text = TF_TensorData(caption);
  printf("%.*s\n", (int)TF_TString_GetSize(text), TF_TString_GetDataPointer(text));
  return 0;
}
