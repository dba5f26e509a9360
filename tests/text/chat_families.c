/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates of every family over conversations with tools, reasoning and parts. The expected texts are Jinja2's. */
#include "chat_families.h"
#include "jinja_case.h"

typedef struct family_case {
    const char *family, *source;
    bool add_generation_prompt;
    const char *variables, *expected;
} family_case;

/* clang-format off */
static const family_case cases[] = {
    {"chatml", chatml, true,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<|im_start|>system\n Be kind. <|im_end|>\n<|im_start|>user\nHi!\n<|im_end|>\n<|im_start|>assistant\n"
     "Hello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"},
    {"chatml", chatml, false,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi!\"}]}",
     "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n"},
    {"qwen", qwen, false,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"2+2?\"}, {\"role\": \"assistant\", \"content\": "
     "\"<think>\\neasy\\n</think>\\n\\n4\"}, {\"role\": \"user\", \"content\": \"3+3?\"}, {\"role\": \"assistant\","
     " \"content\": \"<think>\\nhm\\n</think>\\n\\n6\"}]}",
     "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n<|im_start|>user\n3+3?<|im_end|>"
     "\n<|im_start|>assistant\n<think>\nhm\n</think>\n\n6<|im_end|>\n"},
    {"qwen", qwen, true,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Rain?\"}, {\"role\": \"assistant\", \"content\": "
     "\"\", \"tool_calls\": [{\"id\": \"abcdefgh1\", \"type\": \"function\", \"function\": {\"name\": \"weather\","
     " \"arguments\": {\"city\": \"Graz\", \"days\": 2}}}]}, {\"role\": \"tool\", \"name\": \"weather\", \"tool_call_i"
     "d\": \"abcdefgh1\", \"content\": \"{\\\"rain\\\": true}\"}, {\"role\": \"assistant\", \"content\": \"Yes.\"},"
     " {\"role\": \"user\", \"content\": \"Thanks\"}], \"tools\": [{\"type\": \"function\", \"function\": "
     "{\"name\": \"weather\", \"description\": \"Tells the weather\", \"parameters\": {\"type\": \"object\","
     " \"properties\": {\"city\": {\"type\": \"string\", \"description\": \"Where\"}, \"days\": {\"type\": "
     "\"integer\", \"default\": 1}, \"unit\": {\"type\": \"string\", \"enum\": [\"C\", \"F\"]}}, \"required\": "
     "[\"city\"]}}}]}",
     "<|im_start|>system\n# Tools\n<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"weather\","
     " \"description\": \"Tells the weather\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": "
     "{\"type\": \"string\", \"description\": \"Where\"}, \"days\": {\"type\": \"integer\", \"default\": 1},"
     " \"unit\": {\"type\": \"string\", \"enum\": [\"C\", \"F\"]}}, \"required\": [\"city\"]}}}\n</tools><|im_end|>"
     "\n<|im_start|>user\nRain?<|im_end|>\n<|im_start|>assistant\n<tool_call>\n{\"name\": \"weather\", \"arguments\": "
     "{\"city\": \"Graz\", \"days\": 2}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n{\"rain\": "
     "true}\n</tool_response><|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nThanks<|im_end|>"
     "\n<|im_start|>assistant\n"},
    {"qwen", qwen, true,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}],"
     " \"enable_thinking\": false}",
     "<|im_start|>system\n Be kind. <|im_end|>\n<|im_start|>user\nHi!\n<|im_end|>\n<|im_start|>assistant\n"
     "Hello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"},
    {"llama3", llama3, true,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 15 Jun 2025\n\nBe kind.<|eot_id|><|start_header_id|>"
     "user<|end_header_id|>\n\nHi!<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
     "\n\n"},
    {"llama3", llama3, true,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Rain?\"}, {\"role\": \"assistant\", \"content\": "
     "\"\", \"tool_calls\": [{\"id\": \"abcdefgh1\", \"type\": \"function\", \"function\": {\"name\": \"weather\","
     " \"arguments\": {\"city\": \"Graz\", \"days\": 2}}}]}, {\"role\": \"tool\", \"name\": \"weather\", \"tool_call_i"
     "d\": \"abcdefgh1\", \"content\": \"{\\\"rain\\\": true}\"}, {\"role\": \"assistant\", \"content\": \"Yes.\"},"
     " {\"role\": \"user\", \"content\": \"Thanks\"}], \"tools\": [{\"type\": \"function\", \"function\": "
     "{\"name\": \"weather\", \"description\": \"Tells the weather\", \"parameters\": {\"type\": \"object\","
     " \"properties\": {\"city\": {\"type\": \"string\", \"description\": \"Where\"}, \"days\": {\"type\": "
     "\"integer\", \"default\": 1}, \"unit\": {\"type\": \"string\", \"enum\": [\"C\", \"F\"]}}, \"required\": "
     "[\"city\"]}}}], \"date_string\": \"1 Jan 2025\"}",
     "<s><|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\nToday: 1 Jan 2025\n\n<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\n{\n    \"type\": \"function\",\n    \"function\": {\n   "
     "     \"name\": \"weather\",\n        \"description\": \"Tells the weather\",\n        \"parameters\": "
     "{\n            \"type\": \"object\",\n            \"properties\": {\n                \"city\": {\n  "
     "                  \"type\": \"string\",\n                    \"description\": \"Where\"\n           "
     "     },\n                \"days\": {\n                    \"type\": \"integer\",\n                  "
     "  \"default\": 1\n                },\n                \"unit\": {\n                    \"type\": \"string\","
     "\n                    \"enum\": [\n                        \"C\",\n                        \"F\"\n  "
     "                  ]\n                }\n            },\n            \"required\": [\n               "
     " \"city\"\n            ]\n        }\n    }\n}\n\nRain?<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
     "\n\n{\"name\": \"weather\", \"parameters\": {\"city\": \"Graz\", \"days\": 2}}<|eot_id|><|start_header_id|>"
     "ipython<|end_header_id|>\n\n{\"rain\": true}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
     "\nYes.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nThanks<|eot_id|><|start_header_id|>assistant<|end_he"
     "ader_id|>\n\n"},
    {"llama2", llama2, false,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<s>[INST] <<SYS>>\n Be kind. \n<</SYS>>\n\nHi! [/INST] Hello. </s><s>[INST] Bye [/INST]"},
    {"mistral", mistral, false,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<s>[INST] Hi!\n[/INST] Hello.</s>[INST]  Be kind. \n\nBye[/INST]"},
    {"mistral", mistral, false,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Rain?\"}, {\"role\": \"assistant\", \"content\": "
     "\"\", \"tool_calls\": [{\"id\": \"abcdefgh1\", \"type\": \"function\", \"function\": {\"name\": \"weather\","
     " \"arguments\": {\"city\": \"Graz\", \"days\": 2}}}]}, {\"role\": \"tool\", \"name\": \"weather\", \"tool_call_i"
     "d\": \"abcdefgh1\", \"content\": \"{\\\"rain\\\": true}\"}, {\"role\": \"assistant\", \"content\": \"Yes.\"},"
     " {\"role\": \"user\", \"content\": \"Thanks\"}], \"tools\": [{\"type\": \"function\", \"function\": "
     "{\"name\": \"weather\", \"description\": \"Tells the weather\", \"parameters\": {\"type\": \"object\","
     " \"properties\": {\"city\": {\"type\": \"string\", \"description\": \"Where\"}, \"days\": {\"type\": "
     "\"integer\", \"default\": 1}, \"unit\": {\"type\": \"string\", \"enum\": [\"C\", \"F\"]}}, \"required\": "
     "[\"city\"]}}}]}",
     "<s>[INST] Rain?[/INST][TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"city\": \"Graz\", \"days\": "
     "2}, \"id\": \"abcdefgh1\"}]</s>[TOOL_RESULTS] {\"content\": {\"rain\": true}, \"call_id\": \"abcdefgh1\"}[/TOOL_"
     "RESULTS] Yes.</s>[AVAILABLE_TOOLS] [{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"description"
     "\": \"Tells the weather\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": "
     "\"string\", \"description\": \"Where\"}, \"days\": {\"type\": \"integer\", \"default\": 1}, \"unit\": "
     "{\"type\": \"string\", \"enum\": [\"C\", \"F\"]}}, \"required\": [\"city\"]}}}][/AVAILABLE_TOOLS][INST] "
     "Thanks[/INST]"},
    {"deepseek", deepseek, true,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<s> Be kind. <｜User｜>Hi!\n<｜Assistant｜>Hello.</s><｜User｜>Bye<｜Assistant｜><think>\n"},
    {"deepseek", deepseek, false,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"2+2?\"}, {\"role\": \"assistant\", \"content\": "
     "\"<think>\\neasy\\n</think>\\n\\n4\"}, {\"role\": \"user\", \"content\": \"3+3?\"}, {\"role\": \"assistant\","
     " \"content\": \"<think>\\nhm\\n</think>\\n\\n6\"}]}",
     "<s><｜User｜>2+2?<｜Assistant｜>\n\n4</s><｜User｜>3+3?<｜Assistant｜>\n\n6</s>"},
    {"deepseek", deepseek, true,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Rain?\"}, {\"role\": \"assistant\", \"content\": "
     "\"\", \"tool_calls\": [{\"id\": \"abcdefgh1\", \"type\": \"function\", \"function\": {\"name\": \"weather\","
     " \"arguments\": {\"city\": \"Graz\", \"days\": 2}}}]}, {\"role\": \"tool\", \"name\": \"weather\", \"tool_call_i"
     "d\": \"abcdefgh1\", \"content\": \"{\\\"rain\\\": true}\"}, {\"role\": \"assistant\", \"content\": \"Yes.\"},"
     " {\"role\": \"user\", \"content\": \"Thanks\"}]}",
     "<s><｜User｜>Rain?<｜Assistant｜><｜calls▁begin｜><｜call｜>function<｜sep｜>weather\n```json\n{\"city\": \"Graz\","
     " \"days\": 2}\n```<｜calls▁end｜></s><｜outputs▁begin｜><｜output｜>{\"rain\": true}<｜outputs▁end｜>Yes.</s>"
     "<｜User｜>Thanks<｜Assistant｜><think>\n"},
    {"gptoss", gptoss, true,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<|start|>system<|message|>Date: 2025-06-15\n\nReasoning: medium<|end|><|start|>developer<|message|> "
     "Be kind. <|end|><|start|>user<|message|>Hi!\n<|end|><|start|>assistant<|channel|>final<|message|>Hello.<|end|>"
     "<|start|>user<|message|>Bye<|end|><|start|>assistant"},
    {"gptoss", gptoss, true,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Rain?\"}, {\"role\": \"assistant\", \"content\": "
     "\"\", \"tool_calls\": [{\"id\": \"abcdefgh1\", \"type\": \"function\", \"function\": {\"name\": \"weather\","
     " \"arguments\": {\"city\": \"Graz\", \"days\": 2}}}]}, {\"role\": \"tool\", \"name\": \"weather\", \"tool_call_i"
     "d\": \"abcdefgh1\", \"content\": \"{\\\"rain\\\": true}\"}, {\"role\": \"assistant\", \"content\": \"Yes.\"},"
     " {\"role\": \"user\", \"content\": \"Thanks\"}], \"tools\": [{\"type\": \"function\", \"function\": "
     "{\"name\": \"weather\", \"description\": \"Tells the weather\", \"parameters\": {\"type\": \"object\","
     " \"properties\": {\"city\": {\"type\": \"string\", \"description\": \"Where\"}, \"days\": {\"type\": "
     "\"integer\", \"default\": 1}, \"unit\": {\"type\": \"string\", \"enum\": [\"C\", \"F\"]}}, \"required\": "
     "[\"city\"]}}}], \"reasoning_effort\": \"low\"}",
     "<|start|>system<|message|>Date: 2025-06-15\n\nReasoning: low<|end|><|start|>developer<|message|>\n\n"
     "# Tools\n\n## functions\n\nnamespace functions {\n\n// Tells the weather\ntype weather = (_: {\n// Where\n"
     "city: string,\ndays?: number, // default: 1\nunit?: \"C\" | \"F\",\n}) => any;\n\n} // namespace functions<|end|"
     "><|start|>user<|message|>Rain?<|end|><|start|>assistant to=functions.weather<|channel|>commentary json<|message|"
     ">{\"city\": \"Graz\", \"days\": 2}<|call|><|start|>functions.weather to=assistant<|channel|>commentary<|message|"
     ">\"{\\\"rain\\\": true}\"<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|end|><|start|>user<|message|>"
     "Thanks<|end|><|start|>assistant"},
    {"granite", granite, true,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<|start_of_role|>system<|end_of_role|>Be kind.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>Hi!\n"
     "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>Hello.<|end_of_text|>\n<|start_of_role|>user<|end_of_r"
     "ole|>Bye<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>"},
    {"granite", granite, true,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi!\"}], \"tools\": [{\"type\": \"function\", \"function\": "
     "{\"name\": \"weather\", \"description\": \"Tells the weather\", \"parameters\": {\"type\": \"object\","
     " \"properties\": {\"city\": {\"type\": \"string\", \"description\": \"Where\"}, \"days\": {\"type\": "
     "\"integer\", \"default\": 1}, \"unit\": {\"type\": \"string\", \"enum\": [\"C\", \"F\"]}}, \"required\": "
     "[\"city\"]}}}], \"documents\": [{\"doc_id\": 7, \"text\": \"Rain.\"}], \"controls\": {\"length\": \"short\"}}",
     "<|start_of_role|>system<|end_of_role|>Today's date is June 15, 2025.\nYou have tools: weather.<|end_of_text|>"
     "\n<|start_of_role|>tools<|end_of_role|>[\n    {\n        \"type\": \"function\",\n        \"function\": "
     "{\n            \"name\": \"weather\",\n            \"description\": \"Tells the weather\",\n        "
     "    \"parameters\": {\n                \"type\": \"object\",\n                \"properties\": {\n   "
     "                 \"city\": {\n                        \"type\": \"string\",\n                       "
     " \"description\": \"Where\"\n                    },\n                    \"days\": {\n              "
     "          \"type\": \"integer\",\n                        \"default\": 1\n                    },\n  "
     "                  \"unit\": {\n                        \"type\": \"string\",\n                      "
     "  \"enum\": [\n                            \"C\",\n                            \"F\"\n              "
     "          ]\n                    }\n                },\n                \"required\": [\n           "
     "         \"city\"\n                ]\n            }\n        }\n    }\n]<|end_of_text|>\n<|start_of_role|>"
     "document {\"id\": \"7\"}<|end_of_role|>\nRain.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>Hi!<|end_of_t"
     "ext|>\n<|start_of_role|>assistant {\"length\": \"short\"}<|end_of_role|>"},
    {"gemma", gemma, true,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<s><start_of_turn>user\n Be kind. \n\nHi!<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n<start_of_tur"
     "n>user\nBye<end_of_turn>\n<start_of_turn>model\n"},
    {"gemma", gemma, true,
     "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\"}, {\"type\": \"text\", \"text\": "
     "\" What? \"}]}]}",
     "<s><start_of_turn>user\n<start_of_image>What?<end_of_turn>\n<start_of_turn>model\n"},
    {"phi", phi, true,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<|system|>\n Be kind. <|end|>\n<|user|>\nHi!\n<|end|>\n<|assistant|>\nHello.<|end|>\n<|user|>\nBye<|end|>"
     "\n<|assistant|>\n"},
    {"phi", phi, false,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi!\"}]}",
     "<|user|>\nHi!<|end|>\n</s>"},
    {"glm", glm, true,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Rain?\"}, {\"role\": \"assistant\", \"content\": "
     "\"\", \"tool_calls\": [{\"id\": \"abcdefgh1\", \"type\": \"function\", \"function\": {\"name\": \"weather\","
     " \"arguments\": {\"city\": \"Graz\", \"days\": 2}}}]}, {\"role\": \"tool\", \"name\": \"weather\", \"tool_call_i"
     "d\": \"abcdefgh1\", \"content\": \"{\\\"rain\\\": true}\"}, {\"role\": \"assistant\", \"content\": \"Yes.\"},"
     " {\"role\": \"user\", \"content\": \"Thanks\"}]}",
     "[gMASK]<sop><|user|>\nRain?<|assistant|>\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Graz</arg_valu"
     "e>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call><|observation|>\n<tool_response>\n"
     "{\"rain\": true}\n</tool_response><|assistant|>\nYes.<|user|>\nThanks<|assistant|>"},
    {"glm", glm, true,
     "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": [{\"type\": "
     "\"text\", \"text\": \"a\"}, \"b\"]}], \"enable_thinking\": false}",
     "[gMASK]<sop><|system|>\ns<|user|>\nab/nothink<|assistant|>\n<think></think>"},
    {"commandr", commandr, true,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}],"
     " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"description\": \"Tells "
     "the weather\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\","
     " \"description\": \"Where\"}, \"days\": {\"type\": \"integer\", \"default\": 1}, \"unit\": {\"type\": "
     "\"string\", \"enum\": [\"C\", \"F\"]}}, \"required\": [\"city\"]}}}]}",
     "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be kind.\ndef weather(city: str, days: int = 1, unit: str "
     "= None):\n    \"\"\"Tells the weather\n\n    Args:\n    - CITY (Where)\n    - DAYS\n    - UNIT\n    "
     "\"\"\"\n<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi!<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|"
     "><|CHATBOT_TOKEN|>Hello.<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Bye<|END_OF_TURN_TOKEN|>"
     "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
    {"commandr", commandr, false,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<s><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi!<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
     "Hello.<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Bye<|END_OF_TURN_TOKEN|>"},
    {"hermes", hermes, false,
     "{\"messages\": [{\"role\": \"system\", \"content\": \" Be kind. \"}, {\"role\": \"user\", \"content\": "
     "\"Hi!\\n\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}, {\"role\": \"user\", \"content\": \"Bye\"}]}",
     "<|im_start|>system\n Be kind. <|im_end|>\n<|im_start|>user\nHi!\n<|im_end|>\n<|im_start|>assistant\n"
     "Hello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"},
    {"hermes", hermes, false,
     "{\"messages\": [{\"role\": \"user\", \"content\": \"Rain?\"}, {\"role\": \"assistant\", \"content\": "
     "\"\", \"tool_calls\": [{\"id\": \"abcdefgh1\", \"type\": \"function\", \"function\": {\"name\": \"weather\","
     " \"arguments\": {\"city\": \"Graz\", \"days\": 2}}}]}, {\"role\": \"tool\", \"name\": \"weather\", \"tool_call_i"
     "d\": \"abcdefgh1\", \"content\": \"{\\\"rain\\\": true}\"}, {\"role\": \"assistant\", \"content\": \"Yes.\"},"
     " {\"role\": \"user\", \"content\": \"Thanks\"}], \"tools\": [{\"type\": \"function\", \"function\": "
     "{\"name\": \"weather\", \"description\": \"Tells the weather\", \"parameters\": {\"type\": \"object\","
     " \"properties\": {\"city\": {\"type\": \"string\", \"description\": \"Where\"}, \"days\": {\"type\": "
     "\"integer\", \"default\": 1}, \"unit\": {\"type\": \"string\", \"enum\": [\"C\", \"F\"]}}, \"required\": "
     "[\"city\"]}}}]}",
     "<|im_start|>system\nTools: weather(city, days, unit)<|im_end|>\n<|im_start|>user\nRain?<|im_end|>\n<|im_start|>"
     "assistant\n<call>weather<|im_end|>\n"},
    {"hermes", hermes, false,
     "{\"messages\": []}",
     "nothing"},
};
/* clang-format on */

static void every_family_renders(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const family_case *c = &cases[i];
        md_template *t;
        md_rendered r;
        md_error err = {0};
        if (md_template_new(c->source, strlen(c->source), &t, &err) != MD_OK)
            fail_msg("%s: %s", c->family, err.message);
        const md_chat_args args = {.add_generation_prompt = c->add_generation_prompt,
                                   .bos_token = "<s>",
                                   .eos_token = "</s>",
                                   .extra_json = c->variables,
                                   .now = JINJA_NOW};
        if (md_template_render(t, &args, &r, &err) != MD_OK)
            fail_msg("%s: %s", c->family, err.message);
        if (strcmp(r.text, c->expected) != 0)
            fail_msg("%s gave\n%s\ninstead of\n%s", c->family, r.text, c->expected);
        md_rendered_done(&r);
        md_template_free(t);
    }
}

/* What a template refuses by itself is the caller's fault, in the template's words. */
static void templates_can_refuse(void **state)
{
    (void)state;
    jinja_refuse(llama2, "{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\"}]}", MD_ERR_ARGUMENT,
                 "Roles must alternate user/assistant/user");
    jinja_refuse(mistral, "{\"messages\": [{\"role\": \"pirate\", \"content\": \"x\"}]}", MD_ERR_ARGUMENT,
                 "Roles must alternate");
    jinja_refuse(gptoss, "{\"messages\": [{\"role\": \"tool\", \"content\": \"x\"}]}", MD_ERR_ARGUMENT,
                 "nothing was called");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_renders),
        cmocka_unit_test(templates_can_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
